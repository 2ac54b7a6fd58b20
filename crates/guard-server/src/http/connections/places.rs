//! Counts open connections, and closes some to make room for others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::ConnectionLimits;
use super::activity::Activity;
use crate::log_gate::LogGate;
use crate::monitoring::ConnectionMeters;

/// While all places are taken, the server looks for late clients at this interval.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The part of all places that is freed at once, so that a flood causes few searches.
const FREED_PART: usize = 64;
/// The same part when the system has no connection to give. The server retries that less often.
const STARVED_PART: usize = 8;

/// The places for connections.
#[derive(Debug)]
pub(super) struct Places {
    limits: ConnectionLimits,
    table: Mutex<Table>,
    freed: Notify,
    accept_failed: LogGate,
    full: LogGate,
    address_full: LogGate,
    held_full: LogGate,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// Open connections per limited address, not counting held requests.
    by_address: HashMap<IpAddr, usize>,
    held: usize,
    meters: ConnectionMeters,
}

#[derive(Debug)]
struct Entry {
    address: Option<IpAddr>,
    activity: Arc<Activity>,
    task: Option<AbortHandle>,
    is_held: bool,
}

/// A connection with a place. Requests carry it as an extension.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    pub(super) activity: Arc<Activity>,
    places: Arc<Places>,
}

/// A request that waits for rules. Meanwhile its connection does not count against the other
/// places.
pub(crate) struct Held(Arc<Connection>);

impl Places {
    pub(super) fn new(limits: ConnectionLimits, meters: ConnectionMeters) -> Arc<Self> {
        Arc::new(Self {
            limits,
            table: Mutex::new(Table {
                meters,
                ..Table::default()
            }),
            freed: Notify::new(),
            accept_failed: LogGate::default(),
            full: LogGate::default(),
            address_full: LogGate::default(),
            held_full: LogGate::default(),
        })
    }

    /// Waits for a place for a connection from `peer`. Returns `None` if its address has reached
    /// its limit.
    pub(super) async fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Arc<Connection>> {
        let address = self.counted(peer.ip());
        loop {
            if let Some(taken) = self.try_take(address) {
                return taken;
            }
            // Nothing signals that a client becomes late, so look again.
            let _ = timeout(LOOK_AGAIN, self.freed.notified()).await;
        }
    }

    /// Returns `None` while all places are taken.
    fn try_take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Option<Arc<Connection>>> {
        let mut table = self.table();
        if let Some(address) = address
            && table.by_address.get(&address).copied().unwrap_or(0) >= self.limits.per_address
        {
            let closed = table.close(1, |entry| entry.address == Some(address));
            self.log_address_full(address);
            if closed == 0 {
                table.meters.refused();
                return Some(None);
            }
        }
        if table.open() >= self.limits.open {
            let part = (self.limits.open / FREED_PART).max(1);
            let closed = table.close(part, |_| true);
            self.log_full(&table, closed);
            // The count may exceed the limit just after held requests were answered.
            if closed == 0 {
                return None;
            }
        }
        let activity = Arc::new(Activity::new());
        let id = table.add(address, Arc::clone(&activity));
        let places = Arc::clone(self);
        Some(Some(Arc::new(Connection {
            id,
            activity,
            places,
        })))
    }

    /// Handles a failed `accept`, for example without free file descriptors: closes some
    /// connections whose clients keep them waiting.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        let mut table = self.table();
        let part = (table.open() / STARVED_PART).max(1);
        let closed = table.close(part, |_| true);
        if let Some(times) = self.accept_failed.pass() {
            tracing::warn!(
                %error, open = table.open(), held = table.held, closed, times,
                "cannot accept connections"
            );
        }
    }

    /// The address whose connections are counted. A trusted proxy, or one on this machine, forwards
    /// the requests of many clients.
    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let is_proxy = address.to_canonical().is_loopback() || self.limits.proxies.holds(address);
        (!is_proxy).then(|| subscriber(address))
    }

    fn log_full(&self, table: &Table, closed: usize) {
        if let Some(times) = self.full.pass() {
            tracing::warn!(
                open = table.open(),
                held = table.held,
                closed,
                times,
                "all connections are in use: idle and slow ones are closed for new ones, which \
                 otherwise wait; see --max-connections"
            );
        }
    }

    fn log_address_full(&self, address: IpAddr) {
        if let Some(times) = self.address_full.pass() {
            tracing::warn!(
                %address, times,
                "an address has as many connections as it may: its idle and slow ones are closed \
                 for new ones, which otherwise are refused; see --max-connections-per-address"
            );
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Connections that count against the limit.
    fn open(&self) -> usize {
        self.entries.len().saturating_sub(self.held)
    }

    fn add(&mut self, address: Option<IpAddr>, activity: Arc<Activity>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.entries.insert(
            id,
            Entry {
                address,
                activity,
                task: None,
                is_held: false,
            },
        );
        self.count(address);
        self.report();
        id
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if entry.is_held {
            self.held -= 1;
        } else {
            self.discount(entry.address);
        }
        self.report();
    }

    fn report(&self) {
        self.meters.set(self.open(), self.held);
    }

    /// Closes up to `most` connections whose clients keep them waiting: idle ones first, and the
    /// longest idle first. Returns how many it closed.
    fn close(&mut self, most: usize, among: impl Fn(&Entry) -> bool) -> usize {
        let now = Instant::now();
        let mut ranked: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.task.is_some() && !entry.is_held && among(entry))
            .filter_map(|(id, entry)| Some((entry.activity.rank(now)?, *id)))
            .collect();
        ranked.sort_unstable();
        ranked.truncate(most);
        for (_, id) in &ranked {
            let task = self.entries.get(id).and_then(|entry| entry.task.as_ref());
            if let Some(task) = task {
                task.abort();
            }
            self.remove(*id);
        }
        self.meters.closed(ranked.len());
        ranked.len()
    }

    fn count(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    fn discount(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address
            && let Some(n) = self.by_address.get_mut(&address)
        {
            *n -= 1;
            if *n == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Connection {
    /// Makes the connection closable by ending `task`.
    pub(super) fn served_by(&self, task: AbortHandle) {
        if let Some(entry) = self.places.table().entries.get_mut(&self.id) {
            entry.task = Some(task);
        }
    }

    /// Allows the server to close the connection for another one although its request is not
    /// answered yet.
    pub(crate) fn may_be_closed(&self) {
        self.activity.answered();
    }

    /// Takes a place among the held requests until it is dropped. Returns `None` if all are taken.
    pub(crate) fn hold(self: &Arc<Self>) -> Option<Held> {
        let mut table = self.places.table();
        if table.held >= self.places.limits.held {
            if let Some(times) = self.places.held_full.pass() {
                tracing::warn!(
                    held = table.held,
                    times,
                    "as many requests wait for rules as may: others are answered at once; see \
                     --max-held-requests"
                );
            }
            return None;
        }
        let entry = table.entries.get_mut(&self.id)?;
        if std::mem::replace(&mut entry.is_held, true) {
            return None;
        }
        let address = entry.address;
        table.held += 1;
        table.discount(address);
        table.report();
        drop(table);
        self.places.freed.notify_one();
        Some(Held(Arc::clone(self)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.0.places.table();
        let Some(entry) = table.entries.get_mut(&self.0.id) else {
            return;
        };
        entry.is_held = false;
        let address = entry.address;
        table.held -= 1;
        table.count(address);
        table.report();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.places.table().remove(self.id);
        self.places.freed.notify_one();
    }
}

/// The address that stands for one subscriber: for IPv6, the whole /64.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::http::TrustedProxies;

    const HOUR: Duration = Duration::from_secs(3600);

    fn places(open: usize, per_address: usize, held: usize) -> Arc<Places> {
        let limits = ConnectionLimits {
            open,
            per_address,
            held,
            ..ConnectionLimits::default()
        };
        Places::new(limits, ConnectionMeters::default())
    }

    /// Connects from `address`. The connection's task only waits.
    async fn connect(places: &Arc<Places>, address: &str) -> Option<Arc<Connection>> {
        let peer = SocketAddr::new(address.parse().unwrap(), 1);
        let taken = timeout(HOUR, places.take(peer)).await.ok()??;
        taken.served_by(tokio::spawn(std::future::pending::<()>()).abort_handle());
        Some(taken)
    }

    fn is_closed(connection: &Connection) -> bool {
        !connection
            .places
            .table()
            .entries
            .contains_key(&connection.id)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_is_closed_for_a_new_one_and_busy_ones_stay() {
        let places = places(3, 10, 0);
        let mut taken = Vec::new();
        for _ in 0..3 {
            let connection = connect(&places, "192.0.2.1").await.unwrap();
            connection.activity.request_began();
            taken.push(connection);
        }
        assert!(connect(&places, "192.0.2.1").await.is_none());
        taken[1].activity.answered();
        advance(HOUR).await;
        taken[2].activity.answered();
        assert!(connect(&places, "192.0.2.1").await.is_some());
        let closed: Vec<_> = taken.iter().map(|it| is_closed(it)).collect();
        assert_eq!(closed, [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_connection_limit_and_loopback_has_none() {
        let places = places(10, 2, 0);
        let mut busy = Vec::new();
        for address in ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            let connection = connect(&places, address).await.unwrap();
            connection.activity.request_began();
            busy.push(connection);
        }
        for refused in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::3"] {
            assert!(connect(&places, refused).await.is_none(), "{refused}");
        }
        busy[0].activity.answered();
        let mut others = vec![connect(&places, "192.0.2.1").await.unwrap()];
        assert!(is_closed(&busy[0]), "an idle one makes room");
        for address in [
            "192.0.2.2",
            "2001:db8:0:1::1",
            "127.0.0.1",
            "127.0.0.1",
            "::1",
        ] {
            others.push(connect(&places, address).await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_proxy_has_no_connection_limit_of_its_address() {
        let proxies = TrustedProxies::parse(&["198.51.100.0/24"]).unwrap();
        let limits = ConnectionLimits {
            per_address: 1,
            proxies,
            ..ConnectionLimits::default()
        };
        let places = Places::new(limits, ConnectionMeters::default());
        let mut busy = Vec::new();
        for _ in 0..3 {
            let connection = connect(&places, "198.51.100.9").await.unwrap();
            connection.activity.request_began();
            busy.push(connection);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn held_requests_have_separate_places() {
        let places = places(1, 1, 2);
        let mut held = Vec::new();
        for _ in 0..2 {
            let connection = connect(&places, "192.0.2.1").await.unwrap();
            connection.activity.request_began();
            held.push(connection.hold().unwrap());
        }
        let third = connect(&places, "192.0.2.1").await.unwrap();
        third.activity.request_began();
        assert!(third.hold().is_none(), "two are held");
        drop(held.pop());
        assert!(third.hold().is_some(), "a place is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn all_counts_are_zero_after_all_connections_ended() {
        let places = places(4, 4, 4);
        let connection = connect(&places, "192.0.2.1").await.unwrap();
        let held = connection.hold().unwrap();
        drop(connection);
        drop(held);
        let closed = connect(&places, "192.0.2.1").await.unwrap();
        closed.activity.answered();
        places.accept_failed(&io::ErrorKind::Other.into());
        drop(closed);
        let table = places.table();
        assert!(table.entries.is_empty() && table.by_address.is_empty());
        assert_eq!((table.open(), table.held), (0, 0));
    }
}
