//! How long bans and their ends are given out for; [`compose`](super::compose) explains why.

use jiff::SignedDuration;

/// The longest lease: where it has no Redis, guard-core bans no longer.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(3600);
/// The longest lease while a block is banned: so long it takes to lift that.
pub(super) const BLOCK_LEASE: SignedDuration = SignedDuration::from_secs(900);
/// How long before its end a block is left out.
pub(super) const TAIL: SignedDuration = SignedDuration::from_secs(10);
/// The shortest ban of a block, so that one is listed before its tail.
pub(super) const MIN_BLOCK_SECONDS: i64 = 60;
/// How long an unbanned address is listed: longer than agents that do not wait
/// for changes take to ask (300 s, and as long from their cache). Not for ever,
/// since every new version would forgive what the guard itself banned.
pub(super) const UNBAN_LISTED: SignedDuration = SignedDuration::from_secs(900);
