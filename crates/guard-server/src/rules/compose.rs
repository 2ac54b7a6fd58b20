//! From a policy to the one document that guards understand.
//!
//! guard-core (4.4) bans every entry of `ip_blacklist` for the one
//! `ip_ban_duration`, counted from when it applies a version, and for at most an
//! hour where it has no Redis. An address that is no longer listed stays banned;
//! `ip_whitelist` unbans single addresses and does nothing else; nothing unbans
//! a block. So bans are leased:
//!
//! - A version's bans run until its *lease* ends. `ip_ban_duration` is counted
//!   when the document is answered, so that who takes it late ends no later.
//! - Bans that go on are given out again, by a new version, at half of the lease.
//! - A ban of an address may end within the lease. However that came about, the
//!   first version without it has the address in `ip_whitelist`, for
//!   [`UNBAN_LISTED`](super::lease::UNBAN_LISTED).
//! - The ban of a block cannot be ended: no lease outlasts it. Shortly before its
//!   end ([`TAIL`]) it is left out and runs out by itself, and the others get a
//!   new lease.

use std::collections::HashSet;

use guard_wire::rules::DynamicRules;
use jiff::{SignedDuration, Timestamp};

use super::lease::{BLOCK_LEASE, LEASE, TAIL};
use super::operation::{Ban, Operation, Unban};
use super::policy::{Policy, unban};
use crate::clock::AHEAD;

/// What a policy comes to at a moment.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) rules: DynamicRules,
    /// The policy without what has ended.
    pub(crate) policy: Policy,
    /// When the bans of this version end; `None` if the published duration holds.
    pub(crate) lease_ends: Option<Timestamp>,
    /// When it must be composed anew.
    pub(crate) due: Option<Timestamp>,
}

/// Composes `policy` as it is at `now`, to follow a document that bans `before`.
pub(crate) fn compose(mut policy: Policy, before: &[String], now: Timestamp) -> Composed {
    policy.end(now, now + AHEAD);
    let mut rules = policy.rules.clone();
    let published: HashSet<&String> = policy.rules.ip_blacklist.iter().collect();
    // What is published beside bans is banned as long as it is listed.
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
                // Of these there can be tens of thousands.
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

/// The addresses that `before` has and `rules` say nothing of.
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
