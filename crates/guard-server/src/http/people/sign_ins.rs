//! Slows down wrong passwords, for each address and for each account. Nobody is locked out: an
//! address without a recent wrong password never waits, whatever other addresses do to the account.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::connections::subscriber;
use crate::log_gate::LogGate;

/// Wrong passwords in a row that are answered at once, for each address and each account.
const BURST: u32 = 10;
/// After those, one attempt from an address in this time.
const EACH_FROM_ADDRESS: Duration = Duration::from_secs(10);
/// After those, one attempt at an account in this time, from addresses that failed recently.
const EACH_AT_ACCOUNT: Duration = Duration::from_secs(30);
/// How long ago a recent wrong password is at most.
const RECENTLY: Duration = Duration::from_secs(15 * 60);
/// The most addresses, and the most accounts, that are tracked. Beyond this, those with the fewest
/// attempts are forgotten.
const MAX_TRACKED: usize = 4096;

/// The attempts from an address, or at an account.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    /// When they are back within the rate.
    even: Instant,
    /// When the last one failed.
    failed_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tracked {
    addresses: HashMap<IpAddr, Attempts>,
    accounts: HashMap<String, Attempts>,
}

/// The wrong passwords since the server started.
#[derive(Debug, Default)]
pub(crate) struct SignIns {
    count: AtomicU64,
    tracked: Mutex<Tracked>,
    log: LogGate,
}

impl SignIns {
    /// The number of wrong passwords.
    pub(crate) fn wrong(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Begins an attempt. It counts as wrong until [`right`](Self::right) takes that back, so that
    /// attempts at the same time count too.
    ///
    /// # Errors
    ///
    /// How long to wait before the next attempt.
    pub(crate) fn begin(&self, address: IpAddr, account: &str) -> Result<(), Duration> {
        let (now, address) = (Instant::now(), subscriber(address));
        let mut tracked = self.tracked();
        let Tracked {
            addresses,
            accounts,
        } = &mut *tracked;
        let from_address = entry(addresses, address, now);
        let has_failed = from_address
            .failed_at
            .is_some_and(|at| now.duration_since(at) < RECENTLY);
        let mut wait = over(from_address.even, EACH_FROM_ADDRESS, now);
        let at_account = entry(accounts, account.to_owned(), now);
        if has_failed {
            wait = wait.max(over(at_account.even, EACH_AT_ACCOUNT, now));
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        from_address.even = from_address.even.max(now) + EACH_FROM_ADDRESS;
        at_account.even = at_account.even.max(now) + EACH_AT_ACCOUNT;
        Ok(())
    }

    /// The password of an attempt was wrong.
    pub(crate) fn wrong_from(&self, address: IpAddr) {
        let total = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(times) = self.log.pass() {
            tracing::warn!(%address, times, total, "wrong passwords, lately from this address");
        }
        let now = Instant::now();
        let mut tracked = self.tracked();
        entry(&mut tracked.addresses, subscriber(address), now).failed_at = Some(now);
    }

    /// The password of an attempt was right.
    pub(crate) fn right(&self, address: IpAddr, account: &str) {
        let mut tracked = self.tracked();
        if let Some(attempts) = tracked.addresses.get_mut(&subscriber(address)) {
            attempts.even -= EACH_FROM_ADDRESS;
        }
        if let Some(attempts) = tracked.accounts.get_mut(account) {
            attempts.even -= EACH_AT_ACCOUNT;
        }
    }

    fn tracked(&self) -> MutexGuard<'_, Tracked> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait until an attempt is within the rate.
fn over(even: Instant, each: Duration, now: Instant) -> Duration {
    even.saturating_duration_since(now + each * (BURST - 1))
}

fn entry<K: Hash + Eq + Clone>(
    tracked: &mut HashMap<K, Attempts>,
    key: K,
    now: Instant,
) -> &mut Attempts {
    if tracked.len() >= MAX_TRACKED && !tracked.contains_key(&key) {
        let fewest = tracked.iter().min_by_key(|(_, attempts)| attempts.even);
        if let Some(fewest) = fewest.map(|(key, _)| key.clone()) {
            tracked.remove(&fewest);
        }
    }
    tracked.entry(key).or_insert(Attempts {
        even: now,
        failed_at: None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn wrong(sign_ins: &SignIns, address: IpAddr, account: &str) -> Result<(), Duration> {
        sign_ins.begin(address, account)?;
        sign_ins.wrong_from(address);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_passwords_from_an_address_are_slowed_down_whatever_the_account() {
        let sign_ins = SignIns::default();
        for n in 0..BURST {
            assert_eq!(wrong(&sign_ins, ONE, &format!("name-{n}")), Ok(()));
        }
        assert_eq!(wrong(&sign_ins, ONE, "anna"), Err(EACH_FROM_ADDRESS));
        assert_eq!(wrong(&sign_ins, OTHER, "anna"), Ok(()));
        advance(EACH_FROM_ADDRESS).await;
        assert_eq!(wrong(&sign_ins, ONE, "anna"), Ok(()));
        assert_eq!(sign_ins.wrong(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_slowed_down_only_for_addresses_that_failed() {
        let sign_ins = SignIns::default();
        for n in 0..200 {
            let _ = wrong(&sign_ins, IpAddr::V4(n.into()), "anna");
        }
        assert_eq!(wrong(&sign_ins, ONE, "anna"), Ok(()), "its first attempt");
        let wait = wrong(&sign_ins, ONE, "anna").unwrap_err();
        assert!(wait > EACH_AT_ACCOUNT, "{wait:?}");
        assert_eq!(wrong(&sign_ins, ONE, "ben"), Ok(()), "another account");
        assert_eq!(
            sign_ins.begin(OTHER, "anna"),
            Ok(()),
            "nobody is locked out"
        );
        advance(RECENTLY).await;
        assert_eq!(wrong(&sign_ins, ONE, "anna"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_do_not_count() {
        let sign_ins = SignIns::default();
        for _ in 0..100 {
            assert_eq!(sign_ins.begin(ONE, "anna"), Ok(()));
            sign_ins.right(ONE, "anna");
        }
        assert_eq!(sign_ins.wrong(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tracked_addresses_and_accounts_is_limited() {
        let sign_ins = SignIns::default();
        for n in 0..2 * u32::try_from(MAX_TRACKED).unwrap() {
            let _ = wrong(&sign_ins, IpAddr::V4(n.into()), &n.to_string());
        }
        let tracked = sign_ins.tracked();
        let len = (tracked.addresses.len(), tracked.accounts.len());
        assert_eq!(len, (MAX_TRACKED, MAX_TRACKED));
    }
}
