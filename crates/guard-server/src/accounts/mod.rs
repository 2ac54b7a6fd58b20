//! Adding, changing and removing people and their tokens, for the API and the command line.

mod error;
pub mod password;
pub mod tokens;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::error::PeopleError;
use self::tokens::check_scope;
use crate::people::credential::{self, CredentialHash};
use crate::people::person::check_name;
use crate::people::{
    Actor, AuditEntry, Change, Person, PersonOutcome, PersonUpdate, Role, Scope, SetupLink,
};
use crate::secret::Secret;
use crate::store::Stores;

/// The most people of a server.
pub const MAX_PEOPLE: usize = 1000;
/// How many unused links for the first admin work. Each start of a new server prints one.
const MAX_SETUP_LINKS: u16 = 20;

/// A person to add.
#[derive(Debug)]
pub struct NewPerson {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// Where the role applies.
    pub projects: Scope,
    /// The hashed password. Without one, the person chooses it with a link.
    pub password: Option<String>,
}

impl NewPerson {
    fn person(&self, now: Timestamp) -> Person {
        Person {
            name: self.name.clone(),
            role: self.role,
            projects: self.projects.clone(),
            has_password: self.password.is_some(),
            created_at: now,
            last_seen_at: None,
        }
    }
}

/// Adds a person. Without a password, returns what their link ends with.
///
/// # Errors
///
/// [`PeopleError`]. Then nobody was added.
pub async fn add_person(
    stores: &Stores,
    new: NewPerson,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Secret>, PeopleError> {
    check_name(&new.name).map_err(|problem| PeopleError::field("name", problem))?;
    check_scope(stores, &new.projects).await?;
    if stores.people.people().await?.len() >= MAX_PEOPLE {
        return Err(PeopleError::Full {
            what: "people",
            limit: MAX_PEOPLE,
        });
    }
    let person = new.person(now);
    let change = Change {
        action: "person.add",
        object: new.name.clone(),
        after: json!({ "role": new.role, "projects": new.projects }),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    let needs_link = new.password.is_none();
    if !stores
        .people
        .add_person(person, new.password, Some(entry))
        .await?
    {
        let problem = format!("{:?} exists already; choose another name", new.name);
        return Err(PeopleError::field("name", problem));
    }
    if needs_link {
        Ok(Some(store_link(stores, Some(new.name), now, None).await?))
    } else {
        Ok(None)
    }
}

/// Changes role, projects or password of a person. A new password ends the person's sessions.
///
/// # Errors
///
/// [`PeopleError`]. Then nothing changed.
pub async fn change_person(
    stores: &Stores,
    name: &str,
    update: PersonUpdate,
    actor: &Actor,
    now: Timestamp,
) -> Result<Person, PeopleError> {
    if let Some(projects) = &update.projects {
        check_scope(stores, projects).await?;
    }
    let old = find(stores, name).await?;
    let (mut before, mut after) = (Map::new(), Map::new());
    if let Some(role) = update.role {
        before.insert("role".to_owned(), json!(old.role));
        after.insert("role".to_owned(), json!(role));
    }
    if let Some(projects) = &update.projects {
        before.insert("projects".to_owned(), json!(old.projects));
        after.insert("projects".to_owned(), json!(projects));
    }
    if update.password.is_some() {
        after.insert("password".to_owned(), json!("changed"));
    }
    let change = Change {
        action: "person.change",
        object: name.to_owned(),
        before: Value::Object(before),
        after: Value::Object(after),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    let outcome = stores
        .people
        .change_person(name, update, Some(entry))
        .await?;
    changed(outcome, name)?;
    find(stores, name).await
}

/// Removes a person. Their sessions end at once.
///
/// # Errors
///
/// [`PeopleError`], also for the last admin. Then nothing changed.
pub async fn remove_person(
    stores: &Stores,
    name: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let old = find(stores, name).await?;
    let change = Change {
        action: "person.remove",
        object: name.to_owned(),
        before: json!({ "role": old.role, "projects": old.projects }),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    changed(stores.people.remove_person(name, Some(entry)).await?, name)
}

/// Makes a link with which a person chooses a password. It replaces the person's other links.
/// Returns what the link ends with.
///
/// # Errors
///
/// [`PeopleError::NotFound`] if there is no such person.
pub async fn make_link(
    stores: &Stores,
    name: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Secret, PeopleError> {
    let person = find(stores, name).await?;
    let change = Change {
        action: "person.link",
        object: name.to_owned(),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    store_link(stores, Some(person.name), now, Some(entry)).await
}

/// Makes a link for the first admin, if nobody can manage the server yet.
///
/// # Errors
///
/// [`PeopleError`] if the store fails.
pub async fn make_first_link(
    stores: &Stores,
    now: Timestamp,
) -> Result<Option<Secret>, PeopleError> {
    if !stores.people.needs_setup().await? {
        return Ok(None);
    }
    store_link(stores, None, now, None).await.map(Some)
}

/// Uses a link: sets the password of its person, or adds the first admin. Returns the person's name.
///
/// # Errors
///
/// [`PeopleError::Link`] if the link is unknown or used up; [`PeopleError::Field`] if the name
/// cannot be used.
pub async fn use_link(
    stores: &Stores,
    token: &str,
    name: Option<String>,
    password: String,
    actor: &Actor,
    now: Timestamp,
) -> Result<String, PeopleError> {
    let hash = CredentialHash::of(token);
    let link = stores.people.link(hash).await?.ok_or(PeopleError::Link)?;
    let (action, name) = match (link.person, name) {
        (Some(person), Some(name)) if name != person => {
            let problem = format!("this link is for {person:?}; give that name, or none");
            return Err(PeopleError::field("name", problem));
        }
        (Some(person), _) => ("person.set_password", person),
        (None, Some(name)) => ("person.add_first", name),
        (None, None) => return Err(PeopleError::field("name", "it is missing; choose one")),
    };
    check_name(&name).map_err(|problem| PeopleError::field("name", problem))?;
    let first = NewPerson {
        name: name.clone(),
        role: Role::Admin,
        projects: Scope::All,
        password: Some(String::new()),
    };
    let change = Change {
        action,
        object: name.clone(),
        ..Change::default()
    };
    let entry = AuditEntry::new(actor, change, now);
    let person = first.person(now);
    let used = stores.people.use_link(hash, person, password, Some(entry));
    if !used.await? {
        return Err(if stores.people.link(hash).await?.is_some() {
            let problem = format!("{name:?} exists already; choose another name");
            PeopleError::field("name", problem)
        } else {
            PeopleError::Link
        });
    }
    Ok(name)
}

async fn store_link(
    stores: &Stores,
    person: Option<String>,
    now: Timestamp,
    entry: Option<AuditEntry>,
) -> Result<Secret, PeopleError> {
    let secret = credential::random("")?;
    let link = SetupLink {
        person,
        created_at: now,
    };
    let hash = CredentialHash::of(secret.expose());
    let stored = stores.people.add_link(hash, link, MAX_SETUP_LINKS, entry);
    stored.await?;
    Ok(secret)
}

async fn find(stores: &Stores, name: &str) -> Result<Person, PeopleError> {
    let person = stores.people.person(name).await?;
    person.ok_or_else(|| PeopleError::NotFound(format!("there is no person {name:?}")))
}

fn changed(outcome: PersonOutcome, name: &str) -> Result<(), PeopleError> {
    match outcome {
        PersonOutcome::Changed => Ok(()),
        PersonOutcome::NotFound => Err(PeopleError::NotFound(format!(
            "there is no person {name:?}"
        ))),
        PersonOutcome::LastAdmin => Err(PeopleError::LastAdmin),
    }
}
