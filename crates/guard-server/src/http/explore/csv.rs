//! Events as lines of CSV (RFC 4180).

use guard_wire::Kind;
use serde_json::{Map, Value};

use crate::explore::answer::EventItem;
use crate::query::filter::Field;

/// The columns before the fields of the event.
const FIRST: [&str; 3] = ["id", "received_at", "install_id"];
/// The fields of the event that are no columns here: the install is one already.
const LEFT_OUT: &str = "install_id";
/// The columns after them: both are JSON. `other` has the fields that are not known.
const LAST: [&str; 2] = ["metadata", "other"];

fn fields() -> impl Iterator<Item = &'static str> {
    let key = "idempotency_key";
    let names = Field::names(Kind::Event).filter(move |name| *name != LEFT_OUT && *name != key);
    names.chain([key])
}

/// The names of the columns.
pub(super) fn write_head(text: &mut Vec<u8>) {
    let names = FIRST.into_iter().chain(fields()).chain(LAST);
    text.extend_from_slice(names.collect::<Vec<_>>().join(",").as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// One event.
pub(super) fn write_event(item: &EventItem, text: &mut Vec<u8>) {
    let mut event: Map<String, Value> = serde_json::from_str(item.event.get()).unwrap_or_default();
    let received_at = format!("{:.6}", item.received_at.0);
    let first = [Some(&item.id), Some(&received_at), item.install_id.as_ref()];
    for cell in first {
        write_text(cell.map_or("", String::as_str), text);
        text.push(b',');
    }
    for name in fields() {
        write_value(event.remove(name), text);
        text.push(b',');
    }
    write_value(event.remove("metadata"), text);
    text.push(b',');
    let other = (!event.is_empty()).then_some(Value::Object(event));
    write_value(other, text);
    text.extend_from_slice(b"\r\n");
}

fn write_value(value: Option<Value>, text: &mut Vec<u8>) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(value)) => write_text(&value, text),
        // A number stays a number, also a negative one.
        Some(value @ (Value::Number(_) | Value::Bool(_))) => {
            text.extend_from_slice(value.to_string().as_bytes());
        }
        Some(json) => write_text(&json.to_string(), text),
    }
}

/// Text that a spreadsheet would take for a formula gets a quote in front.
fn write_text(value: &str, text: &mut Vec<u8>) {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let prefix = if is_formula { "'" } else { "" };
    if value.contains(['"', ',', '\r', '\n']) {
        let value = value.replace('"', "\"\"");
        text.extend_from_slice(format!("\"{prefix}{value}\"").as_bytes());
    } else {
        text.extend_from_slice(prefix.as_bytes());
        text.extend_from_slice(value.as_bytes());
    }
}
