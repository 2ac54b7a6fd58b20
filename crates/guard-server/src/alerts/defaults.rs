//! The alerts that each project has from the start. They tell no channel until a person adds one,
//! and a healthy system starts none of them.

use super::condition::{AgentSilent, CountInWindow, Rise, Storage};
use super::{AlertSettings, Condition};

/// The alerts of a new project.
pub fn default_alerts() -> Vec<AlertSettings> {
    let conditions = [
        (
            "Agent silent",
            Condition::AgentSilent(AgentSilent { after_s: 900 }),
        ),
        (
            "Records lost",
            Condition::Losses(CountInWindow {
                count: 10,
                window_s: 600,
            }),
        ),
        (
            "Storage",
            Condition::Storage(Storage {
                days_left: 7,
                used_percent: None,
            }),
        ),
        (
            "Attack",
            Condition::Rise(Rise {
                filter: "action_taken:request_blocked OR action_taken:blocked \
                         OR action_taken:banned OR action_taken:ip_banned"
                    .to_owned(),
                ratio: 3.0,
                minimum: 100,
                window_s: 300,
            }),
        ),
    ];
    conditions
        .into_iter()
        .map(|(label, condition)| AlertSettings::new(label, condition))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_pass_the_checks_for_alerts_of_people() {
        for settings in default_alerts() {
            let json = serde_json::to_value(&settings).unwrap();
            assert_eq!(AlertSettings::read(json), Ok(settings));
        }
    }
}
