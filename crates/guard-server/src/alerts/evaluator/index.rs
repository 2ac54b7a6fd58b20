//! Finds the filters that a record matches without asking each of them.
//!
//! A filter such as `event_type:ip_banned endpoint:/login` can match only records with that type
//! and that endpoint. It is filed under one of its equality terms, the one that the fewest filters
//! share, and is compared only with records that have that value. A filter without an equality
//! term is compared with every record.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::query::filter::{Field, FieldType, Filter, Node, Subject, Test};

/// A field, and a value that a record must have in it.
type Term = (Field, String);

/// Filters, filed by their equality terms.
#[derive(Debug, Default)]
pub(super) struct FilterIndex {
    filters: Vec<Arc<Filter>>,
    fields: Vec<(Field, HashMap<String, Vec<usize>>)>,
    /// The filters without an equality term.
    others: Vec<usize>,
}

impl FilterIndex {
    pub(super) fn new(filters: Vec<Arc<Filter>>) -> Self {
        let choices: Vec<_> = filters.iter().map(|it| choices(&it.root)).collect();
        let mut uses = HashMap::<&Term, usize>::new();
        for term in choices.iter().flatten().flatten() {
            *uses.entry(term).or_default() += 1;
        }
        let mut index = Self::default();
        let cost = |terms: &Vec<Term>| -> usize { terms.iter().map(|term| uses[term]).sum() };
        for (number, choices) in choices.iter().enumerate() {
            match choices.iter().min_by_key(|terms| cost(terms)) {
                None => index.others.push(number),
                Some(terms) => terms.iter().for_each(|term| index.file(term, number)),
            }
        }
        index.filters = filters;
        index
    }

    fn file(&mut self, (field, value): &Term, number: usize) {
        let at = self.fields.iter().position(|(its, _)| its == field);
        let at = at.unwrap_or_else(|| {
            self.fields.push((field.clone(), HashMap::new()));
            self.fields.len() - 1
        });
        let filed = self.fields[at].1.entry(value.clone()).or_default();
        if !filed.contains(&number) {
            filed.push(number);
        }
    }

    /// The numbers of the filters that match, each once.
    pub(super) fn matching(&self, record: Subject<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        for (field, values) in &self.fields {
            match text_of(field, record) {
                None => {}
                Some(Text::One(text)) => found.extend(values.get(&*text).into_iter().flatten()),
                Some(Text::Many) => found.extend(values.values().flatten()),
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|number| self.filters[*number].matches(record));
        found
    }
}

/// The sets of terms of which a matching record has at least one each.
fn choices(node: &Node) -> Vec<Vec<Term>> {
    match node {
        Node::Field(field, Test::Equals(value)) => match field.field_type() {
            FieldType::Text | FieldType::Any => vec![vec![(field.clone(), value.clone())]],
            FieldType::Address => vec![vec![(field.clone(), address(value))]],
            FieldType::Number | FieldType::Time => Vec::new(),
        },
        Node::All(nodes) => nodes.iter().flat_map(choices).collect(),
        Node::Any(nodes) => {
            let each = nodes.iter().map(|node| choices(node).into_iter().next());
            let all: Option<Vec<_>> = each.collect();
            all.map(|sets| vec![sets.concat()]).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The value of a record in a field.
enum Text<'a> {
    One(std::borrow::Cow<'a, str>),
    /// A list or a number: it may equal several texts.
    Many,
}

fn text_of<'a>(field: &Field, record: Subject<'a>) -> Option<Text<'a>> {
    if *field == Field::Named("install_id") {
        return record.install_id.map(|id| Text::One(id.into()));
    }
    Some(match record.value(field)? {
        Value::String(text) if field.field_type() == FieldType::Address => {
            Text::One(address(text).into())
        }
        Value::String(text) => Text::One(text.into()),
        _ => Text::Many,
    })
}

/// An address in its one form.
fn address(text: &str) -> String {
    let address = text.parse::<IpAddr>();
    address.map_or_else(|_| text.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use guard_wire::Kind;
    use serde_json::json;

    use super::*;

    fn index(filters: &[&str]) -> FilterIndex {
        let parse = |text: &&str| Arc::new(Filter::parse(Kind::Event, text).unwrap());
        FilterIndex::new(filters.iter().map(parse).collect())
    }

    #[test]
    fn it_finds_what_each_filter_alone_would_match() {
        let filters = [
            "",
            "event_type:a",
            "event_type:a OR endpoint:/x",
            "event_type:a endpoint:/x",
            "ip_address:2001:DB8::1",
            "metadata.rule:7",
            "metadata.tags:red",
            "NOT event_type:a",
            "event_type:a OR sqlmap",
            "status_code:>=400",
            "install_id:i",
            "(event_type:a OR event_type:b) method:GET",
        ];
        let index = index(&filters);
        for body in [
            json!({}),
            json!({ "event_type": "a", "endpoint": "/x" }),
            json!({ "event_type": "b", "endpoint": "/x", "method": "GET" }),
            json!({ "ip_address": "2001:db8::1", "metadata": { "rule": 7, "tags": ["red"] } }),
            json!({ "reason": "sqlmap", "status_code": 404, "metadata": { "rule": "7" } }),
        ] {
            for install_id in [None, Some("i")] {
                let record = Subject {
                    body: body.as_object().unwrap(),
                    timestamp: None,
                    install_id,
                };
                let found = index.matching(record);
                let matches =
                    |(at, filter): (usize, &Arc<Filter>)| filter.matches(record).then_some(at);
                let expected: Vec<_> = index
                    .filters
                    .iter()
                    .enumerate()
                    .filter_map(matches)
                    .collect();
                assert_eq!(found, expected, "{body} {install_id:?}");
            }
        }
    }

    #[test]
    fn a_filter_is_filed_under_its_rarest_term() {
        let index = index(&[
            "event_type:a endpoint:/1",
            "event_type:a endpoint:/2",
            "event_type:a",
        ]);
        assert!(index.others.is_empty());
        let filed = |name| {
            let field = index
                .fields
                .iter()
                .find(|(field, _)| *field == Field::Named(name));
            field.map_or(0, |(_, values)| values.values().map(Vec::len).sum())
        };
        assert_eq!((filed("endpoint"), filed("event_type")), (2, 1));
    }
}
