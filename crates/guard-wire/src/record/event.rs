//! Security events: what the guard noticed and did.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::value::{Field, Value, set};

/// A security event, built field by field. Only the type is required. String literals are not
/// copied.
///
/// ```
/// use guard_wire::SecurityEvent;
///
/// let event = SecurityEvent::new("ip_banned")
///     .ip_address("192.0.2.7")
///     .reason("10 failed logins in a minute")
///     .metadata("guard.threat_score", 70);
/// assert_eq!(event.fields().len(), 5);
/// ```
#[derive(Debug, Clone)]
pub struct SecurityEvent {
    fields: Vec<Field<'static>>,
}

/// One setter for each field of text.
macro_rules! text_fields {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, text: impl Into<Cow<'static, str>>) -> Self {
            set(&mut self.fields, stringify!($name).into(), Value::Str(text.into()));
            self
        })*
    };
}

impl SecurityEvent {
    /// An event that happened now. The type is any text, such as `ip_banned` or `rate_limited`.
    pub fn new(event_type: impl Into<Cow<'static, str>>) -> Self {
        let mut fields = Vec::with_capacity(12);
        fields.push(("timestamp".into(), Value::Time(Timestamp::now())));
        fields.push(("event_type".into(), Value::Str(event_type.into())));
        Self { fields }
    }

    text_fields! {
        /// Identifies the event; generated if not set.
        idempotency_key;
        /// The client's address.
        ip_address;
        /// The client's country, as ISO 3166-1 alpha-2.
        country;
        /// The client's `User-Agent`.
        user_agent;
        /// What the guard did: `request_blocked`, `logged_only`, ...
        action_taken;
        /// The reason, as text.
        reason;
        /// The route of the request.
        endpoint;
        /// The method of the request.
        method;
        /// The decorator that matched, if any.
        decorator_type;
        /// The rule that matched, if any.
        rule_type;
        /// The pattern that matched, if any.
        pattern_matched;
        /// The part of the guard that reports the event.
        handler_name;
    }

    /// Sets when it happened, if not now.
    #[must_use]
    pub fn timestamp(mut self, at: Timestamp) -> Self {
        set(&mut self.fields, "timestamp".into(), Value::Time(at));
        self
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status_code(mut self, status: u16) -> Self {
        set(
            &mut self.fields,
            "status_code".into(),
            Value::Int(status.into()),
        );
        self
    }

    /// Time to answer the request, in seconds.
    #[must_use]
    pub fn response_time(mut self, seconds: f64) -> Self {
        set(
            &mut self.fields,
            "response_time".into(),
            Value::Float(seconds),
        );
        self
    }

    /// Adds an entry to the metadata, or replaces the one with that name.
    #[must_use]
    pub fn metadata(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        let value = Value::from(value.into());
        let mut fields = self.fields.iter_mut();
        match fields.find(|(known, _)| known == "metadata") {
            Some((_, Value::Map(entries))) => set(entries, name.into(), value),
            _ => {
                let entries = Value::Map(vec![(name.into(), value)]);
                self.fields.push(("metadata".into(), entries));
            }
        }
        self
    }

    /// The fields, for the encoder.
    pub fn fields(&self) -> &[Field<'static>] {
        &self.fields
    }
}
