//! Security events: what the guard saw and did.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::value::{Field, Value};

/// A security event, built field by field. Only the type is required. Text that
/// is known at compile time is not copied.
///
/// ```
/// use guard_wire::SecurityEvent;
///
/// let event = SecurityEvent::new("ip_banned")
///     .ip_address("192.0.2.7")
///     .reason("10 failed logins in a minute")
///     .metadata("guard.threat_score", 70);
/// assert_eq!(event.event_type(), "ip_banned");
/// ```
#[derive(Debug, Clone)]
pub struct SecurityEvent {
    timestamp: Timestamp,
    event_type: Cow<'static, str>,
    text: Vec<(&'static str, Cow<'static, str>)>,
    status_code: Option<u16>,
    response_time: Option<f64>,
    metadata: Vec<(Cow<'static, str>, serde_json::Value)>,
}

/// One setter for each field of text.
macro_rules! text_fields {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, text: impl Into<Cow<'static, str>>) -> Self {
            self.text.push((stringify!($name), text.into()));
            self
        })*
    };
}

impl SecurityEvent {
    /// An event of an open type (`ip_banned`, `rate_limited`, ...) that happened now.
    pub fn new(event_type: impl Into<Cow<'static, str>>) -> Self {
        Self {
            timestamp: Timestamp::now(),
            event_type: event_type.into(),
            text: Vec::with_capacity(6),
            status_code: None,
            response_time: None,
            metadata: Vec::new(),
        }
    }

    text_fields! {
        /// What tells this event from all others; generated when not set.
        idempotency_key;
        /// The client's address.
        ip_address;
        /// The client's country, as ISO 3166-1 alpha-2.
        country;
        /// The client's `User-Agent`.
        user_agent;
        /// What the guard did: `request_blocked`, `logged_only`, ...
        action_taken;
        /// Why, in words.
        reason;
        /// The route that was called.
        endpoint;
        /// The request's method.
        method;
        /// The decorator that fired, if one did.
        decorator_type;
        /// The rule that fired, if one did.
        rule_type;
        /// The pattern that matched, if one did.
        pattern_matched;
        /// The part of the guard that reports.
        handler_name;
    }

    /// The event's type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// When it happened, if not now.
    #[must_use]
    pub fn timestamp(mut self, at: Timestamp) -> Self {
        self.timestamp = at;
        self
    }

    /// The status the request was answered with.
    #[must_use]
    pub fn status_code(mut self, status: u16) -> Self {
        self.status_code = Some(status);
        self
    }

    /// How long the answer took, in seconds.
    #[must_use]
    pub fn response_time(mut self, seconds: f64) -> Self {
        self.response_time = Some(seconds);
        self
    }

    /// Adds one entry to the metadata, or replaces the one of that name.
    #[must_use]
    pub fn metadata(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.metadata.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((name, value)),
        }
        self
    }

    /// The fields, as the encoder takes them.
    pub fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = Vec::with_capacity(self.text.len() + 5);
        fields.push(("timestamp".into(), Value::Time(self.timestamp)));
        fields.push(("event_type".into(), Value::from(&*self.event_type)));
        for (name, text) in &self.text {
            fields.push((Cow::Borrowed(*name), Value::from(&**text)));
        }
        if let Some(status) = self.status_code {
            fields.push(("status_code".into(), Value::Int(status.into())));
        }
        if let Some(seconds) = self.response_time {
            fields.push(("response_time".into(), Value::Float(seconds)));
        }
        if !self.metadata.is_empty() {
            let entries = self
                .metadata
                .iter()
                .map(|(name, value)| (Cow::Borrowed(&**name), Value::from(value)))
                .collect();
            fields.push(("metadata".into(), Value::Map(entries)));
        }
        fields
    }
}
