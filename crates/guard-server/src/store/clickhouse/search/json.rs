//! Values that a column has as JSON: empty if there is none, else as `serde_json` writes it.

use super::condition::{Condition, like};
use super::params::Params;
use crate::query::filter::{Bound, FieldType, Test};

/// More parts of a key than this are not told apart.
const MAX_PARTS: usize = 16;
/// Text that may be the digits of a number.
const DIGITS: &str = "^\"[+-]?[0-9.]+([eE][+-]?[0-9]+)?\"$";

/// The JSON of a value.
pub(super) struct Json {
    /// The text; empty if there is none.
    pub(super) text: String,
    /// Whether the value may be in an object that only the body tells.
    pub(super) is_nested: Option<String>,
}

impl Json {
    /// The value of a field that has another type than usual.
    pub(super) fn untyped(number: u8) -> Self {
        Self {
            text: format!("untyped[{number}]"),
            is_nested: None,
        }
    }

    /// The value of a key of `metadata` or `tags`.
    ///
    /// The longest name that exists wins. So the key itself decides if it exists, else its dots may
    /// lead into an object.
    pub(super) fn key(object: &str, key: &str, params: &mut Params) -> Self {
        let whole = params.text(key);
        let dots: Vec<_> = key.match_indices('.').map(|(at, _)| at).collect();
        let objects = if dots.len() < MAX_PARTS {
            let prefixes = dots.into_iter().map(|at| {
                let prefix = params.text(&key[..at]);
                format!("startsWith({object}[{prefix}], '{{')")
            });
            prefixes.collect::<Vec<_>>().join(" OR ")
        } else {
            format!("arrayExists(value -> startsWith(value, '{{'), mapValues({object}))")
        };
        let is_nested = (!objects.is_empty())
            .then(|| format!("(NOT mapContains({object}, {whole}) AND ({objects}))"));
        Self {
            text: format!("{object}[{whole}]"),
            is_nested,
        }
    }

    /// The value as the key of a group, or NULL.
    pub(super) fn group(&self) -> String {
        let json = &self.text;
        format!(
            "if({json} IN ('', 'null'), NULL, \
             if(startsWith({json}, '\"'), JSONExtractString({json}), {json}))"
        )
    }

    /// A test of the value. The body decides about the elements of lists, and about text that a
    /// number is compared with.
    pub(super) fn test(&self, kind: FieldType, test: &Test, params: &mut Params) -> Condition {
        let surely = self.scalar(test, params);
        let mut maybe = vec![surely.clone()];
        maybe.extend(self.list(test, params));
        if is_number(kind, test) {
            maybe.push(format!("match({}, '{DIGITS}')", self.text));
        }
        maybe.extend(self.is_nested.clone());
        Condition {
            maybe: format!("({})", maybe.join(" OR ")),
            surely,
        }
    }

    /// Whether a value that is no list passes.
    fn scalar(&self, test: &Test, params: &mut Params) -> String {
        let json = &self.text;
        // The first character tells what a JSON value is.
        let is_number = format!("{json} >= '-' AND {json} < ':'");
        let number = format!("JSONExtractFloat({json})");
        match test {
            Test::Present => format!("({json} NOT IN ('', 'null'))"),
            Test::Equals(wanted) => {
                let text = params.text(serde_json::Value::from(wanted.as_str()).to_string());
                let mut any = vec![format!("{json} = {text}")];
                if wanted == "true" || wanted == "false" {
                    any.push(format!("{json} = '{wanted}'"));
                }
                if let Ok(wanted) = wanted.parse::<f64>() {
                    let wanted = params.real(wanted);
                    any.push(format!("{is_number} AND {number} = {wanted}"));
                }
                format!("({})", any.join(" OR "))
            }
            Test::Matches(pattern) => {
                let pattern = params.text(like(pattern));
                format!(
                    "({json} NOT IN ('', 'null') AND NOT startsWith({json}, '[') \
                     AND NOT startsWith({json}, '{{') AND \
                     if(startsWith({json}, '\"'), JSONExtractString({json}), {json}) LIKE {pattern})"
                )
            }
            Test::Compare(order, Bound::Number(bound)) => {
                let bound = params.real(*bound);
                format!("({is_number} AND {number} {order} {bound})")
            }
            Test::Between(Bound::Number(from), Bound::Number(to)) => {
                let (from, to) = (params.real(*from), params.real(*to));
                format!("({is_number} AND {number} >= {from} AND {number} <= {to})")
            }
            _ => "0".to_owned(),
        }
    }

    /// Whether the value is a list of which an element may pass.
    fn list(&self, test: &Test, params: &mut Params) -> Option<String> {
        let is_list = format!("startsWith({}, '[')", self.text);
        match test {
            // A list is present, whatever it has.
            Test::Present => None,
            // A number may be written in many ways.
            Test::Equals(wanted) if wanted.parse::<f64>().is_err() => {
                let quoted = serde_json::Value::from(wanted.as_str()).to_string();
                let inner = params.text(&quoted[1..quoted.len() - 1]);
                Some(format!(
                    "({is_list} AND position({}, {inner}) > 0)",
                    self.text
                ))
            }
            _ => Some(is_list),
        }
    }
}

/// Whether text is read as a number to test it.
fn is_number(kind: FieldType, test: &Test) -> bool {
    match test {
        Test::Compare(..) | Test::Between(..) => true,
        Test::Equals(_) => kind == FieldType::Number,
        _ => false,
    }
}
