//! Filters that the answers put together themselves.

use std::sync::Arc;

use crate::query::filter::{Field, Filter, Node, Test};
use crate::query::group::Key;
use crate::store::Selection;

/// What guards report when they refused a request.
pub(super) const BLOCKED: &[&str] = &["request_blocked", "blocked"];
/// What guards report when they banned an address.
pub(super) const BANNED: &[&str] = &["banned", "ip_banned"];
/// What guards report in passive mode.
pub(super) const WOULD_BLOCK: &[&str] = &["logged_only"];

/// A field of events that a filter can name.
pub(super) const fn named(name: &'static str) -> Field {
    Field::Named(name)
}

/// A key of the metadata of events.
pub(super) fn metadata(key: &str) -> Field {
    Field::Key {
        object: "metadata",
        key: key.to_owned(),
    }
}

/// The field has this key; `None` asks for its absence.
pub(super) fn has(field: Field, key: &Key) -> Node {
    match key {
        Some(text) => Node::Field(field, Test::Equals(text.clone())),
        None => Node::Not(Box::new(Node::Field(field, Test::Present))),
    }
}

/// The field has one of these values.
pub(super) fn one_of(name: &'static str, values: &[&str]) -> Node {
    let nodes = values
        .iter()
        .map(|value| has(named(name), &Some((*value).to_owned())));
    Node::Any(nodes.collect())
}

/// The same selection with one more condition.
pub(super) fn and(selection: &Selection, node: Node) -> Selection {
    let filter = if selection.filter.is_everything() {
        Filter { root: node }
    } else {
        Filter {
            root: Node::All(vec![selection.filter.root.clone(), node]),
        }
    };
    Selection {
        filter: Arc::new(filter),
        ..selection.clone()
    }
}
