//! What a record costs guard-agent.

use std::error::Error;
use std::time::Duration;

use guard_agent::{Agent, SecurityEvent};
use record::Subject;
use serde_json::json;

struct Ours(Agent);

fn main() -> Result<(), Box<dyn Error>> {
    todo!()
}
