//! `guard-server people`, `tokens` and `audit`: the command-line arguments.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::people::{Role, Scope};

/// Add, change and remove the people who may sign in. Works while a server runs; a change takes
/// effect with the next request.
#[derive(Debug, Subcommand)]
pub enum PeopleCommand {
    /// List the people
    List,
    /// Add a person, and print the link with which they choose a password
    Add {
        /// The name, at most 64 characters
        name: String,
        /// Role and projects.
        #[command(flatten)]
        grant: Grant,
    },
    /// Print a new link with which a person chooses a password. If nobody can manage the server yet,
    /// the link adds the person as the first admin
    Link {
        /// The name
        name: String,
    },
    /// Change the role or the projects of a person
    Set {
        /// The name
        name: String,
        /// The new role
        #[arg(long, value_name = "ROLE", required_unless_present = "project")]
        role: Option<Role>,
        /// A project of the role; repeatable; * for all
        #[arg(long, value_name = "NAME")]
        project: Vec<String>,
    },
    /// End all sessions of a person
    SignOut {
        /// The name
        name: String,
    },
    /// Remove a person; their sessions end at once
    Remove {
        /// The name
        name: String,
    },
}

/// Make, list and revoke the tokens of programs. Works while a server runs.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List the tokens, oldest first
    List,
    /// Make a token, and print it: it is never shown again
    Add {
        /// What people call it, at most 64 characters
        label: String,
        /// Role and projects.
        #[command(flatten)]
        grant: Grant,
        /// When it stops to work, such as 2027-01-31T00:00:00Z; by default never
        #[arg(long, value_name = "TIME")]
        expires: Option<Timestamp>,
    },
    /// Revoke a token: it is refused from the next request on
    Revoke {
        /// The id, from `tokens list`
        id: String,
    },
}

/// A role, and the projects that it is for.
#[derive(Debug, Args)]
pub struct Grant {
    /// What they may do: viewer, operator or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// A project of the role; repeatable; by default all
    #[arg(long, value_name = "NAME")]
    project: Vec<String>,
}

impl Grant {
    /// The projects.
    ///
    /// # Errors
    ///
    /// Says what is wrong with them.
    pub fn projects(&self) -> Result<Scope, String> {
        if self.project.is_empty() {
            return Ok(Scope::All);
        }
        scope(&self.project)
    }
}

/// The projects of `--project`.
///
/// # Errors
///
/// Says what is wrong with them.
pub fn scope(names: &[String]) -> Result<Scope, String> {
    Scope::try_from(names.to_vec()).map_err(|problem| format!("--project: {problem}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::config::{Args, Command};

    #[test]
    fn a_role_is_checked_and_projects_are_all_by_default() {
        let parsed = |words: &[&str]| {
            let words = ["guard-server", "tokens", "add", "ci"].iter().chain(words);
            Args::try_parse_from(words).map_err(|error| error.to_string())
        };
        let grant = |words: &[&str]| match parsed(words).unwrap().command {
            Some(Command::Tokens(TokensCommand::Add { grant, .. })) => grant,
            other => panic!("{other:?}"),
        };
        let refused = parsed(&["--role", "root"]).unwrap_err();
        assert!(refused.contains("viewer, operator or admin"), "{refused}");
        assert_eq!(grant(&["--role", "viewer"]).projects(), Ok(Scope::All));
        let two = grant(&["--role", "admin", "--project", "b", "--project", "a"]);
        assert_eq!(two.projects().unwrap().names(), ["a", "b"]);
        assert!(
            grant(&["--role", "admin", "--project", "*", "--project", "a"])
                .projects()
                .is_err()
        );
    }
}
