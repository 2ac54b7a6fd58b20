//! The tables, in numbered steps.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use thiserror::Error;

/// The steps, each with its version. A step never changes after a release.
const STEPS: [(u32, &str); 1] = [(1, include_str!("schema/001_telemetry.sql"))];

/// The version of this server.
pub(super) const KNOWN: u32 = STEPS[STEPS.len() - 1].0;

/// The name of a cluster of ClickHouse, whose replicas all hold the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster(String);

/// Why a text is not the name of a cluster.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("give the name of a cluster of ClickHouse, of letters, digits, _ . and -")]
pub struct ClusterError;

impl FromStr for Cluster {
    type Err = ClusterError;

    fn from_str(name: &str) -> Result<Self, ClusterError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(ClusterError);
        }
        Ok(Self(name.to_owned()))
    }
}

impl Display for Cluster {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Creates the table of versions.
pub(super) fn versions(cluster: Option<&Cluster>) -> String {
    filled(
        "CREATE TABLE IF NOT EXISTS schema_version {on_cluster} (version UInt32) \
         ENGINE = {replicated}ReplacingMergeTree ORDER BY version",
        cluster,
    )
}

/// Creates the database.
pub(super) fn database(name: &str, cluster: Option<&Cluster>) -> String {
    filled(
        &format!("CREATE DATABASE IF NOT EXISTS `{name}` {{on_cluster}}"),
        cluster,
    )
}

/// The statements of each step after `version`. Each can be repeated.
pub(super) fn steps(
    version: u32,
    cluster: Option<&Cluster>,
) -> impl Iterator<Item = (u32, Vec<String>)> {
    let later = STEPS.into_iter().filter(move |(step, _)| *step > version);
    later.map(move |(step, text)| {
        let statements = text.split(";\n").map(str::trim);
        let statements = statements.filter(|statement| !statement.is_empty());
        let filled = statements.map(|statement| filled(statement, cluster));
        (step, filled.collect())
    })
}

/// Adds the cluster to a statement, or leaves it out.
pub(super) fn filled(statement: &str, cluster: Option<&Cluster>) -> String {
    let on = cluster.map_or_else(String::new, |cluster| format!("ON CLUSTER '{cluster}'"));
    let replicated = if cluster.is_some() { "Replicated" } else { "" };
    statement
        .replace("{on_cluster}", &on)
        .replace("{replicated}", replicated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_cluster_every_table_is_replicated_and_made_on_all_replicas() {
        let cluster: Cluster = "guard-1".parse().unwrap();
        let steps = steps(0, Some(&cluster)).flat_map(|(_, statements)| statements);
        let all: Vec<_> = steps.chain([versions(Some(&cluster))]).collect();
        assert_eq!(all.len(), 5);
        for statement in all {
            assert!(statement.contains(" ON CLUSTER 'guard-1' "), "{statement}");
            assert!(statement.contains("ENGINE = Replicated"), "{statement}");
        }
        assert_eq!(
            database("guard", Some(&cluster)),
            "CREATE DATABASE IF NOT EXISTS `guard` ON CLUSTER 'guard-1'"
        );
    }

    #[test]
    fn without_a_cluster_nothing_is_replicated() {
        for (_, statements) in steps(0, None) {
            for statement in statements {
                assert!(!statement.contains("CLUSTER"), "{statement}");
                assert!(!statement.contains("Replicated"), "{statement}");
                assert!(!statement.contains("{on_cluster}"), "{statement}");
            }
        }
        assert_eq!(steps(KNOWN, None).count(), 0);
    }

    #[test]
    fn a_cluster_has_a_plain_name() {
        for name in ["", "a b", "a'b", "`"] {
            assert_eq!(name.parse::<Cluster>(), Err(ClusterError), "{name}");
        }
    }
}
