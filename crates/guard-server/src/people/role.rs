//! Roles, and the projects that a role is for.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ArrayBuilder, Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The name that stands for all projects.
pub const ALL_PROJECTS: &str = "*";
/// The most projects that a role may name.
pub const MAX_PROJECTS: usize = 1000;

/// What a principal may do. Each role may do everything that those before it may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also changes rules, bans, alerts and saved views.
    Operator,
    /// Also manages projects, keys, people, tokens and settings.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text:?} is no role; give viewer, operator or admin"))
    }
}

/// The projects that a role is for. In JSON: `["*"]`, or names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum Scope {
    /// All projects, and what belongs to the whole server.
    All,
    /// These projects.
    Named(BTreeSet<String>),
}

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(Object::with_type(Type::String))
            .description(Some(
                "The projects that a role is for: `[\"*\"]` for all, or names.",
            ))
            .examples([["*"]])
            .into()
    }
}

impl ToSchema for Scope {}

impl Scope {
    /// Whether it includes the project called `name`.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// Whether it includes all projects.
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The names, or a star.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All => vec![ALL_PROJECTS.to_owned()],
            Self::Named(names) => names.iter().cloned().collect(),
        }
    }
}

impl From<Scope> for Vec<String> {
    fn from(scope: Scope) -> Self {
        scope.names()
    }
}

impl TryFrom<Vec<String>> for Scope {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.len() == 1 && names[0] == ALL_PROJECTS {
            return Ok(Self::All);
        }
        if names.is_empty() {
            return Err("it is empty; give names of projects, or [\"*\"] for all".to_owned());
        }
        if names.len() > MAX_PROJECTS {
            let len = names.len();
            return Err(format!(
                "{len} projects; give at most {MAX_PROJECTS}, or [\"*\"]"
            ));
        }
        if names.iter().any(|name| name == ALL_PROJECTS) {
            return Err("it holds \"*\" and names; give one or the other".to_owned());
        }
        Ok(Self::Named(names.into_iter().collect()))
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_includes_the_lower_ones() {
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn a_scope_is_a_star_or_names() {
        let scope = |names: &[&str]| {
            Scope::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(scope(&["*"]), Ok(Scope::All));
        let two = scope(&["b", "a", "a"]).unwrap();
        assert_eq!(two.names(), ["a", "b"]);
        assert!(two.covers("a") && !two.covers("c") && !two.is_all());
        assert!(scope(&["*"]).unwrap().covers("anything"));
        assert!(scope(&[]).is_err() && scope(&["*", "a"]).is_err());
    }
}
