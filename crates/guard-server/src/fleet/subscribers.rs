//! The policy for agents that ask for rules: how check-ins change the stored subscribers, and which
//! subscribers are removed.

use jiff::SignedDuration;

use crate::clock::AHEAD;
use crate::store::{AgentSignal, CheckIn, Room, RuleSubscriber, Since, SubscriberPolicy};

/// A subscriber that was silent for longer than this is removed.
pub const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// When all places are taken, a new agent replaces one that was silent for this long. Agents report
/// every five minutes.
pub const GIVES_WAY_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Room for `installs` agents of a project.
pub const fn room_for(installs: u32) -> Room {
    Room {
        installs,
        silent_for: GIVES_WAY_AFTER,
    }
}

/// The policy for subscribers, with at most `installs` per project.
pub const fn policy(installs: u32) -> SubscriberPolicy {
    SubscriberPolicy {
        apply,
        room: room_for(installs),
        forget_after: FORGET_AFTER,
    }
}

/// The subscriber after a check-in. An agent becomes a subscriber when it asks for rules.
pub fn apply(known: Option<RuleSubscriber>, check_in: &CheckIn) -> Option<RuleSubscriber> {
    let at = check_in.at;
    let Some(mut known) = known else {
        let AgentSignal::Asked { holds } = check_in.signal else {
            return None;
        };
        return Some(RuleSubscriber {
            id: check_in.agent.clone(),
            seen_at: at,
            asked_at: at,
            holds,
            interval: None,
            fetched: None,
            applied: None,
            in_force: None,
            refused: None,
            reported_at: None,
        });
    };
    let newest = |since: Option<Since>| since.map_or(0, |since| since.version);
    match &check_in.signal {
        AgentSignal::Asked { holds } => {
            known.id.agent.clone_from(&check_in.agent.agent);
            known.holds = *holds;
            let interval = at.duration_since(known.asked_at);
            known.interval = interval.is_positive().then_some(interval);
            known.asked_at = at;
        }
        AgentSignal::Fetched(version) => {
            let version = *version;
            let is_same = known.fetched.is_some_and(|it| it.version == version);
            if !is_same {
                known.fetched = Some(Since { version, at });
            }
        }
        AgentSignal::Applied(version) => {
            let version = *version;
            if newest(known.fetched) >= version && newest(known.applied) < version {
                known.applied = Some(Since { version, at });
            }
        }
        AgentSignal::Reported { in_force, refused } => {
            known.in_force = *in_force;
            known.refused.clone_from(refused);
            known.reported_at = Some(at);
        }
    }
    // A time that is far in the future comes from before the clock was set back.
    if known.seen_at < at || known.seen_at.duration_since(at) > AHEAD {
        known.seen_at = at;
    }
    Some(known)
}
