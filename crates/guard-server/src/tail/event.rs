//! Events as live readers get them: as text of server-sent events.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::explore::answer::EventItem;
use crate::query::filter::{Filter, Subject};
use crate::store::ArrivedEvent;

/// A comment, which readers ignore. It shows that the connection is alive.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\n\n");

/// An event that arrived, written once for all readers.
pub(super) struct LiveEvent {
    /// The parsed event, for filters.
    body: Map<String, Value>,
    timestamp: Timestamp,
    install_id: Option<String>,
    frame: Bytes,
}

impl LiveEvent {
    /// Writes an event. Filters match it only if it `is_filtered`.
    pub(super) fn new(arrived: ArrivedEvent, is_filtered: bool) -> serde_json::Result<Self> {
        let ArrivedEvent { position, event } = arrived;
        let body = if is_filtered {
            serde_json::from_str(event.body.get()).unwrap_or_default()
        } else {
            Map::new()
        };
        let (timestamp, install_id) = (event.timestamp, event.install_id.clone());
        let mut item = serde_json::to_string(&EventItem::from(event))?;
        if item.contains(['\n', '\r']) {
            // An agent may send JSON with line breaks between its tokens. Here they would end the
            // data.
            item = item.replace(['\n', '\r'], " ");
        }
        Ok(Self {
            body,
            timestamp,
            install_id,
            frame: format!("event: record\nid: {position}\ndata: {item}\n\n").into(),
        })
    }

    /// The text of the event, if it matches.
    pub(super) fn matching(&self, filter: &Filter) -> Option<Bytes> {
        let is_match = filter.is_everything()
            || filter.matches(Subject {
                body: &self.body,
                timestamp: Some(self.timestamp),
                install_id: self.install_id.as_deref(),
            });
        is_match.then(|| self.frame.clone())
    }
}

/// Tells a reader that so many events are missing at this place.
pub(super) fn gap(missed: u64) -> String {
    format!("event: gap\ndata: {{\"missed\":{missed}}}\n\n")
}
