//! The parameters of a query. The server binds them: no text of a caller becomes SQL.

use clickhouse::query::Query;
use serde::Serialize;

use crate::query::group::Key;

/// A value, as the client writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Whole(i64),
    Bits(u64),
    Key(u128),
    Numbers(Vec<i64>),
}

/// The parameters of a query, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Params(Vec<Value>);

impl Params {
    /// Adds text. Each of these calls returns the SQL that stands for the value.
    pub(super) fn text(&mut self, text: impl Into<String>) -> String {
        self.add(Value::Text(text.into()), "String")
    }

    /// Adds a whole number.
    pub(super) fn whole(&mut self, number: i64) -> String {
        self.add(Value::Whole(number), "Int64")
    }

    /// Adds a number. Its bits, because digits may be read inexactly.
    pub(super) fn real(&mut self, number: f64) -> String {
        let bits = self.add(Value::Bits(number.to_bits()), "UInt64");
        format!("reinterpretAsFloat64({bits})")
    }

    /// Adds the key of a record.
    pub(super) fn record_key(&mut self, key: u128) -> String {
        self.add(Value::Key(key), "UInt128")
    }

    /// Adds an arrival.
    pub(super) fn arrival(&mut self, arrival: u64) -> String {
        self.add(Value::Bits(arrival), "UInt64")
    }

    /// Adds a time in microseconds.
    pub(super) fn time(&mut self, micros: i64) -> String {
        let micros = self.whole(micros);
        format!("fromUnixTimestamp64Micro({micros}, 'UTC')")
    }

    /// Adds a list of numbers.
    pub(super) fn numbers(&mut self, numbers: Vec<i64>) -> String {
        self.add(Value::Numbers(numbers), "Array(Int64)")
    }

    /// Adds keys of groups, as a list.
    pub(super) fn keys<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) -> String {
        let keys = keys.into_iter().map(|key| match key {
            Some(text) => self.text(text),
            None => "NULL".to_owned(),
        });
        let keys: Vec<_> = keys.collect();
        format!("CAST([{}], 'Array(Nullable(String))')", keys.join(", "))
    }

    fn add(&mut self, value: Value, of_type: &str) -> String {
        self.0.push(value);
        format!("{{p{}:{of_type}}}", self.0.len())
    }

    /// Gives a query its values.
    pub(super) fn bind(&self, query: Query) -> Query {
        let all = self.0.iter().enumerate();
        all.fold(query, |query, (at, value)| {
            query.param(&format!("p{}", at + 1), value)
        })
    }
}
