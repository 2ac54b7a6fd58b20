//! The place of this server among the nodes: one session of PostgreSQL holds it.
//!
//! The session has an advisory lock for the slot and, on one node, the lock of the leader; it also
//! listens for changed rules. The node renews its place every [`BEAT`] by a statement. It believes in it
//! for [`LEASE`] after that statement began, which is shorter than the time in which PostgreSQL ends a
//! session that has fallen silent. So a node that is stopped or cut off has given its place up when
//! another one takes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::{AsyncMessage, Client, Error};

use super::health::describe;
use super::rules::RULES_CHANGED;
use super::{AdvisoryLock, OpenError, Server};
use crate::store::node::{MAX_NODES, Membership, Node};

/// How often a place is renewed, and how often a lost one is tried for.
const BEAT: Duration = Duration::from_secs(2);
/// How long a place is believed in.
const LEASE: Duration = Duration::from_secs(5);
/// How long PostgreSQL may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// PostgreSQL 14 and later end a session that is silent for longer. It must be longer than a lease.
const SILENCE: &str = "SET idle_session_timeout = '7s'";
/// Older ones notice only that the machine is gone, in about the same time.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 2; SET tcp_user_timeout = 6000";
/// The first version with [`SILENCE`].
const ENDS_SILENT: i32 = 140_000;

/// A session that holds a slot.
struct Session {
    client: Client,
    slot: u16,
    leads: bool,
    /// Ends with the connection.
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Takes a slot, and holds it until the last clone of the node is dropped.
///
/// # Errors
///
/// [`OpenError`] if PostgreSQL cannot be reached, or no slot is free.
pub(crate) async fn join(server: &Server) -> Result<Node, OpenError> {
    let (membership, node) = Membership::new();
    let membership = Arc::new(membership);
    let mut keeper = Keeper {
        server: server.clone(),
        membership,
        slot: any_slot(),
    };
    let session = keeper.connect().await?;
    // A server that starts has a slot at once.
    keeper.renew(session.slot, false, Instant::now());
    tokio::spawn(keeper.keep(session));
    Ok(node)
}

/// Where the search for a slot begins. A slot that was given up just now is rarely taken again at once.
fn any_slot() -> u16 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().subsec_micros();
    u16::try_from(nanos % u32::from(MAX_NODES)).unwrap_or(0) + 1
}

struct Keeper {
    server: Server,
    membership: Arc<Membership>,
    /// The slot of the last session, which is tried first.
    slot: u16,
}

impl Keeper {
    async fn keep(mut self, session: Session) {
        let membership = Arc::clone(&self.membership);
        tokio::select! {
            () = self.keep_on(session) => {}
            () = membership.is_over() => {}
        }
    }

    /// Never completes.
    async fn keep_on(&mut self, mut session: Session) {
        loop {
            let why = self.hold(session).await;
            let led = self.membership.release();
            tracing::warn!(
                why,
                led,
                "the session that holds the place of this node among the others is lost; it connects again"
            );
            session = self.connect_again().await;
            tracing::info!(
                slot = self.slot,
                "this node has a place among the others again"
            );
        }
    }

    /// Renews the place until the session is lost. Returns why it was.
    async fn hold(&mut self, mut session: Session) -> String {
        // Whatever was told before is not told again.
        self.membership.rules_changed();
        loop {
            let begun = Instant::now();
            match timeout(ANSWER, session.beat()).await {
                Ok(Ok(())) => self.renew(session.slot, session.leads, begun),
                Ok(Err(error)) => return describe(&error),
                Err(_) => return "no answer in time".to_owned(),
            }
            tokio::select! {
                () = sleep_until(begun + BEAT) => {}
                _ = &mut session.connection => return "the connection is closed".to_owned(),
            }
        }
    }

    fn renew(&self, slot: u16, leads: bool, begun: Instant) {
        if self.membership.hold(slot, leads, begun + LEASE) {
            tracing::info!(
                slot,
                "this node leads: it does the work that is done once for all"
            );
        }
    }

    async fn connect_again(&mut self) -> Session {
        loop {
            sleep(BEAT).await;
            match self.connect().await {
                Ok(session) => return session,
                // The pool logs that PostgreSQL is away.
                Err(error) => tracing::debug!(%error, "no place among the nodes yet"),
            }
        }
    }

    async fn connect(&mut self) -> Result<Session, OpenError> {
        let (client, mut connection) = self.server.connection().await?;
        let membership = Arc::clone(&self.membership);
        let connection = tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    membership.rules_changed();
                }
            }
        });
        let mut session = Session {
            client,
            slot: 0,
            leads: false,
            connection,
        };
        let failed = |error: Error| OpenError::statement(&self.server, &error);
        let taken = timeout(3 * ANSWER, session.set_up(self.slot)).await;
        let taken = taken.map_err(|_| self.server.unreachable("no answer in time"))?;
        match taken.map_err(failed)? {
            Some(slot) => self.slot = slot,
            None => {
                return Err(OpenError::Crowded {
                    server: self.server.to_string(),
                    nodes: MAX_NODES,
                });
            }
        }
        session.slot = self.slot;
        Ok(session)
    }
}

impl Session {
    /// Takes a free slot, `first` before others.
    async fn set_up(&self, first: u16) -> Result<Option<u16>, Error> {
        let ask = "SELECT current_setting('server_version_num')::int";
        let version: i32 = self.client.query_one(ask, &[]).await?.try_get(0)?;
        if version >= ENDS_SILENT {
            self.client.batch_execute(SILENCE).await?;
        }
        self.client.batch_execute(KEEPALIVE).await?;
        let listen = format!("LISTEN {RULES_CHANGED}");
        self.client.batch_execute(&listen).await?;
        for offset in 0..MAX_NODES {
            let slot = (first - 1 + offset) % MAX_NODES + 1;
            if self.locks(AdvisoryLock::Node(slot)).await? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Shows PostgreSQL that this node is alive. Takes the lead if nobody has it.
    async fn beat(&mut self) -> Result<(), Error> {
        if self.leads {
            self.client.simple_query("SELECT 1").await?;
        } else {
            self.leads = self.locks(AdvisoryLock::Leader).await?;
        }
        Ok(())
    }

    async fn locks(&self, lock: AdvisoryLock) -> Result<bool, Error> {
        let (take, key) = ("SELECT pg_try_advisory_lock($1)", lock.key());
        self.client.query_one(take, &[&key]).await?.try_get(0)
    }
}
