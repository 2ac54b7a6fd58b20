//! The sender of a request, as its headers name it.

use axum::http::{HeaderMap, header};
use guard_wire::header::{INSTALL_ID, PROCESS_ID};

use crate::store::AgentId;
use crate::visible::shortened;

/// The longest name that is kept, in characters.
pub(crate) const MAX_NAME: usize = 128;
/// The install id for agents that send none.
pub(crate) const UNKNOWN: &str = "unknown";

/// The agent that the headers name.
pub(crate) fn sender(headers: &HeaderMap) -> AgentId {
    let text = |name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(shortened(value, MAX_NAME))
    };
    AgentId {
        install_id: text(INSTALL_ID).unwrap_or_else(|| UNKNOWN.to_owned()),
        process: text(PROCESS_ID).unwrap_or_default(),
        agent: text(header::USER_AGENT.as_str()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_headers_and_shortened() {
        let long = "x".repeat(200);
        let headers = [
            ("x-agent-install-id", long.as_str()),
            ("x-agent-process-id", "42"),
            ("user-agent", "an-agent/1"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let found = sender(&HeaderMap::from_iter(headers));
        assert_eq!(found.install_id, "x".repeat(128));
        assert_eq!((&*found.process, &*found.agent), ("42", "an-agent/1"));
    }

    #[test]
    fn a_sender_without_a_name_is_unknown() {
        let found = sender(&HeaderMap::new());
        assert_eq!(found.install_id, "unknown");
        assert_eq!((&*found.process, &*found.agent), ("", ""));
    }
}
