//! The kinds of operations. A kind is one file here and its line in the list below: its names and
//! fields, its checks, its change to the document, and its text in the history. Whether a change
//! needs a confirmation depends on its effect on the document: see `lockout`.

mod auto_ban;
mod bans;
mod cloud;
mod country;
mod emergency;
mod feature;
mod limits;
mod patterns;

use guard_wire::rules::{DynamicRules, RulesError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::auto_ban::AutoBan;
pub use self::bans::{Ban, Unban};
pub use self::cloud::Cloud;
pub use self::country::Country;
pub use self::emergency::Emergency;
pub use self::feature::Feature;
pub use self::limits::{Limit, RateLimit};
pub use self::patterns::{Pattern, UserAgent};
use super::{Kind, Schema, operations};
use crate::rules::document::problem;

operations! {
    Ban, Unban, Country, Limit, RateLimit, UserAgent, Cloud, Pattern, Feature, AutoBan, Emergency,
}

fn add(list: &mut Vec<String>, item: &String) {
    if !list.contains(item) {
        list.push(item.clone());
    }
}
