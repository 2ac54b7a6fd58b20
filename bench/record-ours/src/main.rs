//! What a record costs guard-agent.

use std::error::Error;
use std::time::Duration;

use guard_agent::{Agent, SecurityEvent};
use record::Subject;

struct Ours(Agent);

impl Subject for Ours {
    type Event = SecurityEvent;

    fn event(index: usize) -> SecurityEvent {
        SecurityEvent::new("suspicious_request")
            .ip_address("203.0.113.7")
            .user_agent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
            .endpoint("/api/v1/items")
            .method("GET")
            .action_taken("blocked")
            .reason("SQL injection pattern in query parameter id")
            .status_code(403)
            .response_time(0.0042)
            .metadata("sequence", index)
            .metadata("guard.threat_score", 0.9)
    }

    fn send_all(&self, events: impl Iterator<Item = SecurityEvent>) {
        for event in events {
            self.0.send_event(&event).expect("room for every event");
        }
    }

    fn flush(&self) {
        self.0.flush(Duration::from_secs(60));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    record::run(|sink, capacity, holds| {
        let mut builder = Agent::builder("benchmark-key-1234567890")
            .endpoint(sink)
            .buffer_size(capacity);
        if holds {
            builder = builder.max_batch_bytes(capacity * 1024);
        }
        Ok(Ours(builder.build()?))
    })
}
