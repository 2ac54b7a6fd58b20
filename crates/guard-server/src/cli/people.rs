//! `guard-server people ...` and `guard-server tokens ...`: work directly on the database, with or
//! without a running server.

use std::fmt::Display;
use std::iter::once;

use jiff::Timestamp;

use super::people_command::{PeopleCommand, TokensCommand, scope};
use super::table::{Table, print, time};
use super::{FAILED, Outcome, USAGE, failed_with, opened};
use crate::accounts::tokens::{NewToken, add_token, revoke_token};
use crate::accounts::{self, NewPerson};
use crate::cli::config::Args;
use crate::people::{Actor, AuditEntry, Change, PersonUpdate, Scope};
use crate::secret::Secret;
use crate::store::Stores;

/// Runs `guard-server people`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn people(args: &Args, command: &PeopleCommand) -> Outcome<()> {
    let (stores, now, actor) = (opened(args).await?, Timestamp::now(), Actor::CLI);
    match command {
        PeopleCommand::List => list_people(&stores).await,
        PeopleCommand::Add { name, grant } => {
            let new = NewPerson {
                name: name.clone(),
                role: grant.role,
                projects: grant.projects().map_err(failed_with(USAGE))?,
                password: None,
            };
            let link = accounts::add_person(&stores, new, &actor, now).await;
            let link = link.map_err(failed_with(FAILED))?;
            link.map_or(Ok(()), |link| print_link(args, name, &link))
        }
        PeopleCommand::Link { name } => {
            let link = make_link(&stores, name, now).await?;
            print_link(args, name, &link)
        }
        PeopleCommand::Set {
            name,
            role,
            project,
        } => {
            let projects = match &project[..] {
                [] => None,
                names => Some(scope(names).map_err(failed_with(USAGE))?),
            };
            let update = PersonUpdate {
                role: *role,
                projects,
                password: None,
            };
            let person = accounts::change_person(&stores, name, update, &actor, now).await;
            let person = person.map_err(failed_with(FAILED))?;
            let (role, projects) = (person.role, in_projects(&person.projects));
            print(once(format!("{name} is {role} {projects}")))
        }
        PeopleCommand::SignOut { name } => sign_out(&stores, name, now).await,
        PeopleCommand::Remove { name } => {
            let removed = accounts::remove_person(&stores, name, &actor, now).await;
            removed.map_err(failed_with(FAILED))?;
            print(once(format!("{name} removed")))
        }
    }
}

/// Runs `guard-server tokens`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn tokens(args: &Args, command: &TokensCommand) -> Outcome<()> {
    let (stores, now, actor) = (opened(args).await?, Timestamp::now(), Actor::CLI);
    match command {
        TokensCommand::List => list_tokens(&stores).await,
        TokensCommand::Add {
            label,
            grant,
            expires,
        } => {
            let new = NewToken {
                label: label.clone(),
                role: grant.role,
                projects: grant.projects().map_err(failed_with(USAGE))?,
                expires_at: *expires,
            };
            let made = add_token(&stores, new, &actor, now).await;
            let (id, token) = made.map_err(failed_with(FAILED))?;
            eprintln!("token {id} made; it is shown only this once:");
            print(once(token.expose().to_owned()))
        }
        TokensCommand::Revoke { id } => {
            let revoked = revoke_token(&stores, id, &actor, now).await;
            revoked.map_err(failed_with(FAILED))?;
            print(once(format!("token {id} revoked")))
        }
    }
}

/// A link for a person. The first admin may not exist yet.
async fn make_link(stores: &Stores, name: &str, now: Timestamp) -> Outcome<Secret> {
    let exists = stores.people.person(name).await;
    let exists = exists.map_err(failed_with(FAILED))?.is_some();
    if !exists && let Some(link) = first_link(stores, now).await? {
        return Ok(link);
    }
    accounts::make_link(stores, name, &Actor::CLI, now)
        .await
        .map_err(|error| {
            (
                FAILED,
                format!("{error}; add them with guard-server people add"),
            )
        })
}

async fn first_link(stores: &Stores, now: Timestamp) -> Outcome<Option<Secret>> {
    let link = accounts::make_first_link(stores, now).await;
    link.map_err(failed_with(FAILED))
}

async fn sign_out(stores: &Stores, name: &str, now: Timestamp) -> Outcome<()> {
    let change = Change {
        action: "session.sign_out_everywhere",
        object: format!("person:{name}"),
        ..Change::default()
    };
    let entry = AuditEntry::new(&Actor::CLI, change, now);
    let ended = stores.people.remove_sessions(name, None, Some(entry)).await;
    let ended = ended.map_err(failed_with(FAILED))?;
    print(once(format!("{ended} sessions of {name} ended")))
}

async fn list_people(stores: &Stores) -> Outcome<()> {
    let people = stores.people.people().await.map_err(failed_with(FAILED))?;
    let rows = people.into_iter().map(|person| {
        let password = if person.has_password { "yes" } else { "no" };
        [
            person.name,
            person.role.to_string(),
            person.projects.to_string(),
            password.to_owned(),
            person.last_seen_at.map(time).unwrap_or_default(),
        ]
    });
    Table::new(["NAME", "ROLE", "PROJECTS", "PASSWORD", "LAST SEEN"])
        .with(rows)
        .print("nobody yet: guard-server people link NAME makes the link for the first admin")
}

async fn list_tokens(stores: &Stores) -> Outcome<()> {
    let tokens = stores.people.tokens().await.map_err(failed_with(FAILED))?;
    let rows = tokens.into_iter().map(|token| {
        [
            token.id,
            token.label,
            token.role.to_string(),
            token.projects.to_string(),
            token.created_by,
            token.expires_at.map(time).unwrap_or_default(),
            token.last_used_at.map(time).unwrap_or_default(),
        ]
    });
    Table::new([
        "ID",
        "LABEL",
        "ROLE",
        "PROJECTS",
        "MADE BY",
        "EXPIRES",
        "LAST USED",
    ])
    .with(rows)
    .print("no tokens yet: guard-server tokens add LABEL --role ROLE makes one")
}

fn in_projects(projects: &Scope) -> impl Display {
    match projects {
        Scope::All => "in all projects".to_owned(),
        named @ Scope::Named(_) => format!("in {named}"),
    }
}

/// Prints where a person chooses a password.
fn print_link(args: &Args, name: &str, link: &Secret) -> Outcome<()> {
    let origin = match &args.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", args.listen),
    };
    eprintln!("{name} chooses a password here; the link works once:");
    print(once(format!("{origin}/setup?token={}", link.expose())))
}
