//! Building and parsing the names of keys.
//!
//! ```text
//! group_{time}_{owner}_{number}       a JSON array of records
//! lease_{owner}                       exists while the owner is alive
//! roster                              all owners, separated by spaces
//! quarantine_{time}_{owner}_{number}  a JSON object: a record and why it was set aside
//! event_{time}_{hex}, metric_...      one record as a JSON object: of other versions of the agent
//! ```
//!
//! Times are nanoseconds since 1970.

/// The parsed name of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// Records of an owner.
    Group { nanos: u128, owner: &'a str },
    /// A lease, which shows that its owner is alive.
    Lease { owner: &'a str },
    /// A quarantined record.
    Quarantine,
    /// A record that another version of the agent wrote.
    Single { nanos: u128 },
}

impl<'a> Name<'a> {
    /// Parses a name. `None` if the agent did not create it.
    pub(super) fn read(name: &'a str) -> Option<Self> {
        let (word, rest) = name.split_once('_')?;
        let mut parts = rest.split('_');
        let mut nanos = || parts.next()?.parse().ok();
        match word {
            "group" => Some(Name::Group {
                nanos: nanos()?,
                owner: parts.next()?,
            }),
            "event" | "metric" => Some(Name::Single { nanos: nanos()? }),
            "lease" => Some(Name::Lease { owner: rest }),
            "quarantine" => Some(Name::Quarantine),
            _ => None,
        }
    }
}

pub(super) const MEMBERSHIP: &str = "roster";

pub(super) fn group(nanos: u128, owner: &str, number: u64) -> String {
    format!("group_{nanos}_{owner}_{number:x}")
}

pub(super) fn lease(owner: &str) -> String {
    format!("lease_{owner}")
}

pub(super) fn quarantine(nanos: u128, owner: &str, number: u64) -> String {
    format!("quarantine_{nanos}_{owner}_{number:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = group(17, "ab", 255);
        let owner = "ab";
        assert_eq!(Name::read(&name), Some(Name::Group { nanos: 17, owner }));
        assert_eq!(Name::read(&lease("ab")), Some(Name::Lease { owner }));
        assert_eq!(Name::read(&quarantine(1, "ab", 2)), Some(Name::Quarantine));
    }

    #[test]
    fn names_of_other_versions_of_the_agent_are_known() {
        let nanos = 1_795_479_467_281_188_472;
        let single = Some(Name::Single { nanos });
        assert_eq!(Name::read("metric_1795479467281188472_57910c59"), single);
        assert_eq!(Name::read("event_1795479467281188472_0b8cb8a5"), single);
    }

    #[test]
    fn foreign_names_are_ignored() {
        for name in [
            "",
            "group",
            "group_x_y_1",
            "event_",
            "rate_limit_1",
            "lease",
        ] {
            assert_eq!(Name::read(name), None, "{name}");
        }
    }
}
