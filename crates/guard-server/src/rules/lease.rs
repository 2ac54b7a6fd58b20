//! How long bans and unbans are listed; [`compose`](super::compose) explains why.

use jiff::SignedDuration;

/// The longest lease. Without Redis, guard-core bans for at most this long.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(3600);
/// The longest lease while a block is banned. Lifting a block's ban takes up to this long.
pub(super) const BLOCK_LEASE: SignedDuration = SignedDuration::from_secs(900);
/// How long before its end a block is left out.
pub(super) const TAIL: SignedDuration = SignedDuration::from_secs(10);
/// The shortest ban of a block, so that the block is listed before its tail.
pub(super) const MIN_BLOCK_SECONDS: i64 = 60;
/// How long an unbanned address is listed. It is longer than agents that poll need to notice (300
/// s, plus the same time from their cache). It is limited, because every new version would also
/// lift bans that the guard made itself.
pub(super) const UNBAN_LISTED: SignedDuration = SignedDuration::from_secs(900);
