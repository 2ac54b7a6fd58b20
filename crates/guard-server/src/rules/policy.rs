//! The decisions of people: a published document, and operations on top of it that each can end on
//! their own.

use std::collections::HashSet;

use guard_wire::rules::{DynamicRules, RulesError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::document::problem;
use super::lease::{MIN_BLOCK_SECONDS, UNBAN_LISTED};
use super::operation::{Ban, Operation, Unban};
use super::provenance::Provenance;

/// The longest duration: ten years.
const MAX_SECONDS: i64 = 10 * 366 * 24 * 3600;
/// The most simultaneous ends that history lists.
const MAX_TOLD: usize = 10;

/// An operation with its author, reason and times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The operation.
    #[serde(flatten)]
    pub operation: Operation,
    /// The reason for it.
    pub reason: Option<String>,
    /// The author of it.
    pub author: Option<String>,
    /// When it begins.
    pub created_at: Timestamp,
    /// When it ends. `None` means it stays until it is removed.
    pub ends_at: Option<Timestamp>,
}

impl Entry {
    /// Builds an operation that starts at `now` and lasts this many seconds, or without end. An
    /// unban is listed for a quarter of an hour by default.
    ///
    /// # Errors
    ///
    /// [`RulesError::Field`] for an operation or duration that guards cannot use.
    pub fn new(
        mut operation: Operation,
        seconds: Option<i64>,
        by: &Provenance,
        now: Timestamp,
    ) -> Result<Self, RulesError> {
        operation.normalize()?;
        operation.check_new()?;
        let least = if operation.is_block() {
            MIN_BLOCK_SECONDS
        } else {
            1
        };
        let ends_at = match (seconds, &operation) {
            (Some(seconds), _) if !(least..=MAX_SECONDS).contains(&seconds) => {
                let text =
                    format!("{seconds} s; give {least} s to {MAX_SECONDS} s, or none for no end");
                return Err(problem("duration_s", text));
            }
            (Some(seconds), _) => Some(now + SignedDuration::from_secs(seconds)),
            (None, Operation::Unban(_)) => Some(now + UNBAN_LISTED),
            (None, _) => None,
        };
        Ok(Self {
            operation,
            reason: by.reason.clone(),
            author: by.author.clone(),
            created_at: now,
            ends_at,
        })
    }

    fn is_unban(&self) -> bool {
        matches!(self.operation, Operation::Unban(_))
    }

    /// The address or block that it bans.
    const fn banned(&self) -> Option<&String> {
        match &self.operation {
            Operation::Ban(Ban { ip }) => Some(ip),
            _ => None,
        }
    }

    /// Adjusts to a clock that was set by this much, so that the remaining time stays the same.
    fn move_by(&mut self, by: SignedDuration) {
        let times = [Some(&mut self.created_at), self.ends_at.as_mut()];
        for at in times.into_iter().flatten() {
            *at = at.saturating_add(by).unwrap_or(*at);
        }
    }

    /// Whether it has ended at `now`.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|ends| ends <= now)
    }
}

/// All decisions for a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The published document.
    pub rules: DynamicRules,
    /// The operations on top of it, oldest first.
    pub entries: Vec<Entry>,
    /// The published document that ended last. If the clock is set back to a time before its end,
    /// the document is published again, unless another one was published meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DynamicRules>,
}

impl Policy {
    /// Adjusts the operations to a clock that was set by this much. The end of the published
    /// document is a time of day and does not move.
    pub(crate) fn move_by(&mut self, by: SignedDuration) {
        self.entries.iter_mut().for_each(|entry| entry.move_by(by));
    }

    /// Removes what has ended at `now`. An entry that begins after `ahead` comes from a clock that
    /// was set back while no server ran: it begins now.
    pub(crate) fn end(&mut self, now: Timestamp, ahead: Timestamp) {
        for entry in &mut self.entries {
            if entry.created_at > ahead {
                entry.move_by(now.duration_since(entry.created_at));
            }
        }
        self.entries.retain(|entry| !entry.is_over(now));
        // The published document ends as a whole.
        if self.rules.is_expired(now) {
            let nothing = DynamicRules {
                rule_id: self.rules.rule_id.clone(),
                ..DynamicRules::default()
            };
            self.ended = Some(std::mem::replace(&mut self.rules, nothing));
        } else if let Some(rules) = self.ended.take_if(|rules| !rules.is_expired(now)) {
            self.rules = rules;
        }
    }

    /// Adds an entry, which replaces the entry about the same thing. A ban removes the unban of the
    /// same address from the published document, and an unban removes its ban.
    pub fn put(&mut self, entry: Entry) {
        self.entries
            .retain(|old| !entry.operation.replaces(&old.operation));
        match &entry.operation {
            Operation::Ban(Ban { ip }) => self.rules.ip_whitelist.retain(|unbanned| unbanned != ip),
            Operation::Unban(Unban { ip }) => self.rules.ip_blacklist.retain(|banned| banned != ip),
            _ => {}
        }
        self.entries.push(entry);
    }

    /// Removes what is about the same thing as `operation`. A ban is also removed from the
    /// published document. The ban of an address is lifted even if the guard made it itself.
    /// Returns whether anything changed.
    pub(crate) fn remove(
        &mut self,
        operation: &Operation,
        by: &Provenance,
        now: Timestamp,
    ) -> bool {
        let size = |policy: &Self| policy.entries.len() + policy.rules.ip_blacklist.len();
        let before = size(self);
        self.entries
            .retain(|old| !operation.replaces(&old.operation));
        match operation {
            Operation::Ban(Ban { ip }) if !operation.is_block() => {
                self.put(Entry {
                    reason: by.reason.clone(),
                    author: by.author.clone(),
                    ..unban(ip.clone(), now)
                });
                return true;
            }
            Operation::Ban(Ban { ip }) => self.rules.ip_blacklist.retain(|banned| banned != ip),
            _ => {}
        }
        size(self) < before
    }

    /// Replaces the published document, and returns the old one. The new bans and unbans remove
    /// operations that contradict them.
    pub(crate) fn publish(&mut self, rules: DynamicRules) -> DynamicRules {
        let banned: HashSet<&String> = rules.ip_blacklist.iter().collect();
        let unbanned: HashSet<&String> = rules.ip_whitelist.iter().collect();
        self.entries.retain(|entry| match &entry.operation {
            Operation::Ban(Ban { ip }) => !unbanned.contains(ip),
            Operation::Unban(Unban { ip }) => !banned.contains(ip),
            _ => true,
        });
        self.ended = None;
        std::mem::replace(&mut self.rules, rules)
    }

    /// Prepares this policy to replace `current`, which is in force. The unbans of `current` stay
    /// listed.
    pub(crate) fn instead_of(mut self, current: &Self) -> Self {
        // Old unbans of this policy must not take effect again.
        self.entries.retain(|entry| !entry.is_unban());
        let bans = self.entries.iter().filter_map(Entry::banned);
        let banned: HashSet<&String> = bans.chain(&self.rules.ip_blacklist).collect();
        let is_told = |entry: &&Entry| matches!(&entry.operation, Operation::Unban(Unban { ip }) if !banned.contains(ip));
        let told = current.entries.iter().filter(is_told).cloned();
        let told: Vec<_> = told.collect();
        self.entries.extend(told);
        self
    }

    /// Describes what ends at `now`; `None` if nothing does. The end of a listed unban does not
    /// count.
    pub(crate) fn ending(&self, now: Timestamp) -> Option<String> {
        let is_told = |entry: &&Entry| entry.is_over(now) && !entry.is_unban();
        let ending = self.entries.iter().filter(is_told);
        let mut ending: Vec<_> = ending.map(|entry| entry.operation.to_string()).collect();
        if self.rules.is_expired(now) {
            ending.push("the published document".to_owned());
        }
        let untold = ending.len().saturating_sub(MAX_TOLD);
        ending.truncate(MAX_TOLD);
        if untold > 0 {
            ending.push(format!("{untold} more"));
        }
        (!ending.is_empty()).then(|| format!("end: {}", ending.join(", ")))
    }
}

/// The entry that lifts the ban of `ip` everywhere.
pub(super) fn unban(ip: String, now: Timestamp) -> Entry {
    Entry {
        operation: Operation::Unban(Unban { ip }),
        reason: Some("the ban ended".to_owned()),
        author: None,
        created_at: now,
        ends_at: Some(now + UNBAN_LISTED),
    }
}
