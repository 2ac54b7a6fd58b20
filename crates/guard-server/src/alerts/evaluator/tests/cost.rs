//! What 1,000 alerts cost. It asserts that all are evaluated, and prints the time they took:
//!
//! ```console
//! $ cargo test --release -p guard-server --lib cost -- --nocapture
//! ```

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::world::World;

const ALERTS: u32 = 1000;
const EVENTS_PER_SECOND: u32 = 2000;
const ROUNDS: u32 = 3;

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

#[tokio::test]
async fn a_thousand_alerts_on_a_busy_project_are_all_evaluated() {
    let mut world = World::new().await;
    for n in 0..ALERTS {
        let filter = match n % 4 {
            0 => format!("endpoint:/api/{n} status_code:>=400"),
            1 => format!("event_type:type-{} ip_address:10.0.0.0/8", n % 50),
            2 => format!("action_taken:blocked country:C{n}"),
            _ => "action_taken:blocked".to_owned(),
        };
        let condition =
            json!({ "type": "threshold", "filter": filter, "count": 1_000_000, "window_s": 300 });
        let group_by = (n % 2 == 0).then_some("ip_address");
        let label = format!("Alert {n}");
        world
            .alert_with(json!({ "label": label, "condition": condition, "group_by": group_by }))
            .await;
    }
    world.run(10).await;
    let mut taken = Duration::ZERO;
    for round in 0..ROUNDS {
        for n in 0..100 {
            let fields = json!({
                "event_type": format!("type-{}", n % 50), "endpoint": format!("/api/{}", n * 4),
                "ip_address": format!("10.0.{round}.{n}"), "country": format!("C{}", n * 4 + 2),
                "action_taken": if n % 2 == 0 { "blocked" } else { "logged_only" },
                "status_code": 403, "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                "reason": "too many requests within a minute from this address", "method": "GET",
                "metadata": { "guard.threat_score": 70, "guard.rule.id": "block-1" },
            });
            world.events(EVENTS_PER_SECOND / 10, fields).await;
        }
        world.pass(10);
        let before = cpu();
        let evaluation = world.evaluate().await.unwrap();
        taken += cpu() - before;
        assert_eq!(
            (evaluation.evaluated, evaluation.failed),
            (ALERTS.into(), 0)
        );
    }
    let share = taken.as_secs_f64() / f64::from(ROUNDS * 10) * 100.0;
    println!("{ALERTS} alerts at {EVENTS_PER_SECOND} events/s: {share:.2} % of a core");
}
