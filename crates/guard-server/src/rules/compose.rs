//! Composes a policy into the single document that guards understand.
//!
//! guard-core (4.4) bans every entry of `ip_blacklist` for the same `ip_ban_duration`. The time
//! counts from when the guard applies a version, and without Redis a ban lasts at most an hour. An
//! address that leaves the list stays banned. `ip_whitelist` unbans single addresses and does
//! nothing else; nothing unbans a block. Therefore bans are leased:
//!
//! - The bans of a version run until its *lease* ends. The server computes `ip_ban_duration` when
//!   it answers, so a guard that fetches the version late ends the bans no later.
//! - Bans that continue get a new version, and with it a new lease, at half of the lease.
//! - A ban of an address may end within the lease. Whatever the reason, the first version without
//!   the ban has the address in `ip_whitelist`, for [`UNBAN_LISTED`](super::lease::UNBAN_LISTED).
//! - The ban of a block cannot be lifted, so no lease outlasts it. Shortly before its end
//!   ([`TAIL`]) the block is left out and its ban runs out; the other bans get a new lease.

use std::collections::HashSet;

use guard_wire::rules::DynamicRules;
use jiff::{SignedDuration, Timestamp};

use super::lease::{BLOCK_LEASE, LEASE, TAIL};
use super::operation::{Ban, Operation, Unban};
use super::policy::{Policy, unban};
use crate::clock::AHEAD;

/// The result of composing a policy at a given time.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) rules: DynamicRules,
    /// The policy without ended entries.
    pub(crate) policy: Policy,
    /// When the bans of this version end. `None` if the published duration applies.
    pub(crate) lease_ends: Option<Timestamp>,
    /// When the policy must be composed again.
    pub(crate) due: Option<Timestamp>,
}

/// Composes `policy` at `now`. The result follows a document that bans `before`.
pub(crate) fn compose(mut policy: Policy, before: &[String], now: Timestamp) -> Composed {
    policy.end(now, now + AHEAD);
    let mut rules = policy.rules.clone();
    let published: HashSet<&String> = policy.rules.ip_blacklist.iter().collect();
    // Bans in the published document last as long as they are listed.
    let mut longest = if published.is_empty() {
        now
    } else {
        rules.ends_at().unwrap_or(Timestamp::MAX)
    };
    let (mut next, mut lease, mut is_any) = (None, now + LEASE, false);
    let mut unbanned: HashSet<&String> = policy.rules.ip_whitelist.iter().collect();
    for entry in &policy.entries {
        let Operation::Ban(Ban { ip }) = &entry.operation else {
            match &entry.operation {
                // There can be tens of thousands of these.
                Operation::Unban(Unban { ip }) if unbanned.insert(ip) => {
                    rules.ip_whitelist.push(ip.clone());
                }
                Operation::Unban(_) => {}
                other => other.apply(&mut rules),
            }
            next = earlier(next, entry.ends_at);
            continue;
        };
        let mut due = entry.ends_at;
        if entry.operation.is_block() {
            if let Some(ends) = entry.ends_at {
                if ends - TAIL <= now {
                    next = earlier(next, due);
                    continue;
                }
                lease = lease.min(ends);
                due = Some(ends - TAIL);
            }
            lease = lease.min(now + BLOCK_LEASE);
        }
        next = earlier(next, due);
        is_any = true;
        longest = longest.max(entry.ends_at.unwrap_or(Timestamp::MAX));
        if !published.contains(ip) {
            rules.ip_blacklist.push(ip.clone());
        }
    }
    let lease_ends = is_any.then(|| lease.min(longest));
    if let Some(ends) = lease_ends.filter(|ends| *ends < longest) {
        let half = SignedDuration::from_micros((ends.as_microsecond() - now.as_microsecond()) / 2);
        next = earlier(next, Some(now + half));
    }
    next = earlier(next, rules.ends_at());
    for ip in no_longer_banned(before, &rules) {
        let entry = unban(ip.clone(), now);
        next = earlier(next, entry.ends_at);
        rules.ip_whitelist.push(ip);
        policy.entries.push(entry);
    }
    Composed {
        rules,
        policy,
        lease_ends,
        due: next,
    }
}

/// The addresses in `before` that `rules` neither bans nor unbans.
fn no_longer_banned(before: &[String], rules: &DynamicRules) -> Vec<String> {
    let told: HashSet<&String> = rules
        .ip_blacklist
        .iter()
        .chain(&rules.ip_whitelist)
        .collect();
    let is_gone = |ip: &&String| !ip.contains('/') && !told.contains(ip);
    before.iter().filter(is_gone).cloned().collect()
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
