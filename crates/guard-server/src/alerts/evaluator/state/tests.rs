use super::NotificationState::{Ended, Ongoing, Started};
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn finding(is_over: bool, count: u64) -> Finding {
    Finding {
        group: GroupKey::Whole,
        is_over,
        count,
        baseline: None,
        since: at(1000),
        detail: None,
    }
}

/// One group over a simulated clock.
struct Group {
    state: Option<GroupState>,
    second: u32,
    is_silenced: bool,
    can_end: bool,
}

impl Group {
    fn new() -> Self {
        Self {
            state: None,
            second: 0,
            is_silenced: false,
            can_end: true,
        }
    }

    /// Evaluates every 10 seconds for `seconds`. Returns what happened.
    fn run(&mut self, seconds: u32, finding: Option<&Finding>) -> Vec<(NotificationState, bool)> {
        let mut steps = Vec::new();
        let end = self.second + seconds;
        while self.second < end {
            self.second += 10;
            let moment = Moment {
                now: at(1000 + i64::from(self.second)),
                uptime: Duration::from_secs(self.second.into()),
                can_end: self.can_end,
                is_silenced: self.is_silenced,
                interval: SignedDuration::from_mins(10),
            };
            let (state, step) = advance(self.state.take(), finding, moment);
            self.state = state;
            steps.extend(step.map(|step| (step.state, step.is_told)));
        }
        steps
    }
}

#[test]
fn it_is_told_once_when_it_starts_at_intervals_while_it_lasts_and_once_when_it_ends() {
    let (mut group, over) = (Group::new(), finding(true, 10));
    assert_eq!(group.run(600, Some(&over)), [(Started, true)]);
    assert_eq!(group.run(1200, Some(&over)), [(Ongoing, true); 2]);
    assert_eq!(group.run(120, None), [(Ended, true)]);
    assert_eq!(group.state, None);
    assert_eq!(group.run(600, None), []);
}

#[test]
fn what_nearly_holds_starts_nothing_and_keeps_what_has_started() {
    let (mut group, nearly) = (Group::new(), finding(false, 9));
    assert_eq!(group.run(60, Some(&nearly)), []);
    assert_eq!(group.run(10, Some(&finding(true, 10))), [(Started, true)]);
    assert_eq!(group.run(500, Some(&nearly)), []);
    assert_eq!(group.state.as_ref().unwrap().count, 10);
}

#[test]
fn a_short_pause_does_not_end_it() {
    let (mut group, over) = (Group::new(), finding(true, 10));
    group.run(10, Some(&over));
    for _ in 0..5 {
        assert_eq!(group.run(50, None), []);
        assert_eq!(group.run(10, Some(&over)), []);
    }
    assert_eq!(group.run(70, None), [(Ended, true)]);
}

#[test]
fn it_does_not_end_while_counts_are_incomplete() {
    let mut group = Group::new();
    group.run(10, Some(&finding(true, 10)));
    group.can_end = false;
    assert_eq!(group.run(300, None), []);
    group.can_end = true;
    assert_eq!(group.run(70, None), [(Ended, true)]);
}

#[test]
fn what_starts_and_ends_while_silenced_is_not_told() {
    let mut group = Group::new();
    group.is_silenced = true;
    assert_eq!(group.run(60, Some(&finding(true, 10))), [(Started, false)]);
    assert_eq!(group.run(120, None), [(Ended, false)]);
    group.is_silenced = false;
    assert_eq!(group.run(60, None), []);
}

#[test]
fn what_lasts_longer_than_the_silence_is_told_after_it() {
    let (mut group, over) = (Group::new(), finding(true, 10));
    group.is_silenced = true;
    assert_eq!(group.run(3600, Some(&over)), [(Started, false)]);
    group.is_silenced = false;
    assert_eq!(group.run(60, Some(&over)), [(Started, true)]);
    assert_eq!(group.state.as_ref().unwrap().since, at(1000));
}

#[test]
fn an_end_within_the_silence_is_told_after_it() {
    let (mut group, over) = (Group::new(), finding(true, 10));
    assert_eq!(group.run(10, Some(&over)), [(Started, true)]);
    group.is_silenced = true;
    assert_eq!(group.run(3600, Some(&over)), []);
    assert_eq!(group.run(120, None), [(Ended, false)]);
    group.is_silenced = false;
    assert_eq!(group.run(60, None), [(Ended, true)]);
    assert_eq!(group.state, None);
}

#[test]
fn what_starts_again_before_its_end_was_told_goes_on() {
    let (mut group, over) = (Group::new(), finding(true, 10));
    group.run(10, Some(&over));
    group.is_silenced = true;
    assert_eq!(group.run(120, None), [(Ended, false)]);
    assert_eq!(group.run(10, Some(&over)), []);
    group.is_silenced = false;
    assert_eq!(group.run(120, None), [(Ended, true)]);
}

#[test]
fn groups_are_stored_as_text() {
    for group in [
        GroupKey::Whole,
        GroupKey::Rest,
        GroupKey::Value(None),
        GroupKey::Value(Some(String::new())),
        GroupKey::Value(Some("é r".to_owned())),
    ] {
        assert_eq!(GroupKey::of_text(&group.to_text()), group);
    }
}

#[test]
fn states_survive_a_restart() {
    let mut group = Group::new();
    group.run(10, Some(&finding(true, 10)));
    let json = serde_json::to_string(&group.state).unwrap();
    let read: Option<GroupState> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, group.state);
}
