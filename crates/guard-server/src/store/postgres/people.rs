//! People, sessions, setup links and tokens in PostgreSQL.
//!
//! Whatever may remove the last admin, and whatever uses or replaces a link or a token, takes the lock
//! of people. A session locks the row of its person, so that none outlives its person or password.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::rows::{ReadError, column, count, json, optional_timestamp, parsed, text, timestamp};
use super::session::{Session, Transaction};
use super::{AdvisoryLock, Postgres};
use crate::people::{
    AuditEntry, CredentialHash, Person, PersonOutcome, PersonUpdate, Scope, Session as SignedIn,
    SessionLimits, SetupLink, Token,
};
use crate::store::{BoxFuture, People, StoreError};

const PERSON: &str = "name, role, projects, password IS NOT NULL, people.created_at, signed_in_at";
const TOKEN: &str =
    "id, label, role, projects, created_at, created_by, expires_at, last_used_at FROM tokens";
/// A person who can manage the server.
const IS_ADMIN: &str = "role = 'admin' AND projects = '[\"*\"]' AND password IS NOT NULL";

impl People for Postgres {
    fn people(&self) -> BoxFuture<'_, Vec<Person>> {
        Box::pin(async move {
            let list = format!("SELECT {PERSON} FROM people ORDER BY name");
            self.session().await?.all(&list, &[], person).await
        })
    }

    fn person<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Person>> {
        Box::pin(async move {
            let find = format!("SELECT {PERSON} FROM people WHERE name = $1");
            self.session()
                .await?
                .first(&find, &[&text(name)], person)
                .await
        })
    }

    fn needs_setup(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { Ok(admins(&self.session().await?).await? == 0) })
    }

    fn password_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let find = "SELECT password FROM people WHERE name = $1";
            let session = self.session().await?;
            let found: Option<Option<String>> = session.first(find, &[&text(name)], column).await?;
            Ok(found.flatten())
        })
    }

    fn add_person(
        &self,
        person: Person,
        password: Option<String>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            let is_added = add_person(&change, &person, password.as_deref()).await?;
            change.commit_audited(is_added, entry).await
        })
    }

    fn change_person<'a>(
        &'a self,
        name: &'a str,
        update: PersonUpdate,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::People).await?;
            let had_admins = admins(&change).await? > 0;
            let role = update.role.map(crate::people::Role::name);
            let scope = update.projects.as_ref().map(scope_text);
            let set =
                "UPDATE people SET password = coalesce($2, password), role = coalesce($3, role),
                    projects = coalesce($4, projects) WHERE name = $1";
            // First, because it locks the person against new sessions.
            let changed = change
                .execute(set, &[&text(name), &update.password, &role, &scope])
                .await?;
            if update.password.is_some() {
                end_access(&change, name).await?;
            }
            keeping_an_admin(change, had_admins, changed, entry).await
        })
    }

    fn remove_person<'a>(
        &'a self,
        name: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::People).await?;
            let had_admins = admins(&change).await? > 0;
            let remove = "DELETE FROM people WHERE name = $1";
            let removed = change.execute(remove, &[&text(name)]).await?;
            end_access(&change, name).await?;
            keeping_an_admin(change, had_admins, removed, entry).await
        })
    }

    fn add_link(
        &self,
        hash: CredentialHash,
        link: SetupLink,
        keep: u16,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::People).await?;
            let old = "DELETE FROM setup_links WHERE person = $1";
            change.execute(old, &[&link.person]).await?;
            let add = "INSERT INTO setup_links (hash, person, created_at) VALUES ($1, $2, $3)";
            let at = link.created_at.as_microsecond();
            change
                .execute(add, &[&bytes(&hash), &link.person, &at])
                .await?;
            let beyond = "DELETE FROM setup_links WHERE person IS NULL AND hash NOT IN
                (SELECT hash FROM setup_links WHERE person IS NULL
                 ORDER BY created_at DESC, hash LIMIT $1)";
            change.execute(beyond, &[&i64::from(keep)]).await?;
            change.commit_audited((), entry).await
        })
    }

    fn link(&self, hash: CredentialHash) -> BoxFuture<'_, Option<SetupLink>> {
        Box::pin(async move { link(&self.session().await?, &hash).await })
    }

    fn use_link(
        &self,
        hash: CredentialHash,
        person: Person,
        password: String,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::People).await?;
            let is_used = use_link(&change, &hash, &person, &password).await?;
            change.commit_audited(is_used, entry).await
        })
    }

    fn add_session(
        &self,
        hash: CredentialHash,
        session: SignedIn,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let (at, seen) = (session.created_at, session.seen_at);
            let (at, seen) = (at.as_microsecond(), seen.as_microsecond());
            let change = self.begin().await?;
            // First, because it locks the person.
            let set = "UPDATE people SET signed_in_at = $2 WHERE name = $1";
            let is_there = change.execute(set, &[&text(&session.person), &at]).await? > 0;
            if is_there {
                let add = "INSERT INTO sessions (hash, person, created_at, seen_at)
                    VALUES ($1, $2, $3, $4)";
                change
                    .execute(add, &[&bytes(&hash), &session.person, &at, &seen])
                    .await?;
            }
            change.commit_audited(is_there, entry).await
        })
    }

    fn session(&self, hash: CredentialHash) -> BoxFuture<'_, Option<(SignedIn, Person)>> {
        Box::pin(async move {
            let find = format!(
                "SELECT {PERSON}, sessions.created_at, seen_at
                 FROM sessions JOIN people ON name = person WHERE hash = $1"
            );
            let read = |row: &Row| {
                let person = person(row)?;
                let session = SignedIn {
                    person: person.name.clone(),
                    created_at: timestamp(row, 6)?,
                    seen_at: timestamp(row, 7)?,
                };
                Ok((session, person))
            };
            self.session()
                .await?
                .first(&find, &[&bytes(&hash)], read)
                .await
        })
    }

    fn touch_session(&self, hash: CredentialHash, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (hash, at) = (bytes(&hash), at.as_microsecond());
            let change = self.begin().await?;
            // In the order in which the others lock: the person, then the session.
            let person = "UPDATE people SET signed_in_at = $2
                WHERE name = (SELECT person FROM sessions WHERE hash = $1)";
            change.execute(person, &[&hash, &at]).await?;
            let session = "UPDATE sessions SET seen_at = $2 WHERE hash = $1";
            change.execute(session, &[&hash, &at]).await?;
            change.commit().await
        })
    }

    fn remove_session(&self, hash: CredentialHash, entry: Option<AuditEntry>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let change = self.begin().await?;
            let remove = "DELETE FROM sessions WHERE hash = $1";
            change.execute(remove, &[&bytes(&hash)]).await?;
            change.commit_audited((), entry).await
        })
    }

    fn remove_sessions<'a>(
        &'a self,
        person: &'a str,
        keep: Option<CredentialHash>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let change = self.begin().await?;
            let remove = "DELETE FROM sessions WHERE person = $1 AND hash IS DISTINCT FROM $2";
            let keep = keep.as_ref().map(bytes);
            let removed = change.execute(remove, &[&text(person), &keep]).await?;
            change.commit_audited(removed, entry).await
        })
    }

    fn count_sessions(&self) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            let all = "SELECT count(*) FROM sessions";
            self.session().await?.one(all, &[], count).await
        })
    }

    fn expire_sessions(&self, limits: SessionLimits, now: Timestamp) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            let before = |limit| {
                let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
                now.saturating_sub(limit)
                    .map_or(i64::MIN, Timestamp::as_microsecond)
            };
            let over = "DELETE FROM sessions WHERE created_at <= $1 OR seen_at <= $2";
            let (created, seen) = (before(limits.total), before(limits.idle));
            self.session()
                .await?
                .execute(over, &[&created, &seen])
                .await
        })
    }

    fn tokens(&self) -> BoxFuture<'_, Vec<Token>> {
        Box::pin(async move {
            let list = format!("SELECT {TOKEN} ORDER BY created_at, id");
            self.session().await?.all(&list, &[], token).await
        })
    }

    fn token(&self, hash: CredentialHash) -> BoxFuture<'_, Option<Token>> {
        Box::pin(async move {
            let find = format!("SELECT {TOKEN} WHERE hash = $1");
            self.session()
                .await?
                .first(&find, &[&bytes(&hash)], token)
                .await
        })
    }

    fn save_token(
        &self,
        hash: CredentialHash,
        token: Token,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let change = self.begin().await?;
            change.lock(AdvisoryLock::People).await?;
            let old = "DELETE FROM tokens WHERE id = $1 OR hash = $2";
            change.execute(old, &[&token.id, &bytes(&hash)]).await?;
            add_token(&change, &hash, &token).await?;
            change.commit_audited((), entry).await
        })
    }

    fn touch_token<'a>(&'a self, id: &'a str, at: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let set = "UPDATE tokens SET last_used_at = $2 WHERE id = $1";
            let session = self.session().await?;
            session
                .execute(set, &[&text(id), &at.as_microsecond()])
                .await
                .map(drop)
        })
    }

    fn remove_token<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<Token>> {
        Box::pin(async move {
            let change = self.begin().await?;
            let find = format!("SELECT {TOKEN} WHERE id = $1 FOR UPDATE");
            let found = change.first(&find, &[&text(id)], token).await?;
            let remove = "DELETE FROM tokens WHERE id = $1";
            change.execute(remove, &[&text(id)]).await?;
            change.commit_audited(found, entry).await
        })
    }
}

async fn admins(session: &Session<'_>) -> Result<u64, StoreError> {
    let all = format!("SELECT count(*) FROM people WHERE {IS_ADMIN}");
    session.one(&all, &[], count).await
}

/// Commits a change of so many people, unless it removed the last admin.
async fn keeping_an_admin(
    change: Transaction<'_>,
    had_admins: bool,
    changed: u64,
    entry: Option<AuditEntry>,
) -> Result<PersonOutcome, StoreError> {
    let outcome = if changed == 0 {
        PersonOutcome::NotFound
    } else if had_admins && admins(&change).await? == 0 {
        PersonOutcome::LastAdmin
    } else {
        return change.commit_audited(PersonOutcome::Changed, entry).await;
    };
    change.roll_back().await?;
    Ok(outcome)
}

/// Ends the sessions and links of a person.
async fn end_access(change: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    for table in ["sessions", "setup_links"] {
        let end = format!("DELETE FROM {table} WHERE person = $1");
        change.execute(&end, &[&text(name)]).await?;
    }
    Ok(())
}

async fn add_person(
    change: &Transaction<'_>,
    person: &Person,
    password: Option<&str>,
) -> Result<bool, StoreError> {
    let add = "INSERT INTO people (name, role, projects, password, created_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let (role, scope) = (person.role.name(), scope_text(&person.projects));
    let at = person.created_at.as_microsecond();
    let added = change
        .execute(add, &[&person.name, &role, &scope, &password, &at])
        .await?;
    Ok(added > 0)
}

async fn add_token(
    change: &Transaction<'_>,
    hash: &CredentialHash,
    token: &Token,
) -> Result<(), StoreError> {
    change
        .execute(
            "INSERT INTO tokens (id, hash, label, role, projects, created_at, created_by,
                expires_at, last_used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &token.id,
                &bytes(hash),
                &token.label,
                &token.role.name(),
                &scope_text(&token.projects),
                &token.created_at.as_microsecond(),
                &token.created_by,
                &token.expires_at.map(Timestamp::as_microsecond),
                &token.last_used_at.map(Timestamp::as_microsecond),
            ],
        )
        .await
        .map(drop)
}

async fn link(
    session: &Session<'_>,
    hash: &CredentialHash,
) -> Result<Option<SetupLink>, StoreError> {
    let find = "SELECT person, created_at FROM setup_links WHERE hash = $1";
    let link = |row: &Row| {
        Ok(SetupLink {
            person: row.try_get(0)?,
            created_at: timestamp(row, 1)?,
        })
    };
    session.first(find, &[&bytes(hash)], link).await
}

async fn use_link(
    change: &Transaction<'_>,
    hash: &CredentialHash,
    person: &Person,
    password: &str,
) -> Result<bool, StoreError> {
    match link(change, hash).await? {
        None => Ok(false),
        Some(SetupLink { person: None, .. }) => {
            let is_added = add_person(change, person, Some(password)).await?;
            if is_added {
                let others = "DELETE FROM setup_links WHERE person IS NULL";
                change.execute(others, &[]).await?;
            }
            Ok(is_added)
        }
        Some(SetupLink {
            person: Some(name), ..
        }) => {
            // First, because it locks the person against new sessions.
            let set = "UPDATE people SET password = $2 WHERE name = $1";
            let changed = change.execute(set, &[&name, &password]).await?;
            end_access(change, &name).await?;
            Ok(changed > 0)
        }
    }
}

fn bytes(hash: &CredentialHash) -> &[u8] {
    hash.as_bytes().as_slice()
}

/// A person in the first columns.
fn person(row: &Row) -> Result<Person, ReadError> {
    Ok(Person {
        name: row.try_get(0)?,
        role: parsed(row, 1)?,
        projects: json(row, 2)?,
        has_password: row.try_get(3)?,
        created_at: timestamp(row, 4)?,
        last_seen_at: optional_timestamp(row, 5)?,
    })
}

fn token(row: &Row) -> Result<Token, ReadError> {
    Ok(Token {
        id: row.try_get(0)?,
        label: row.try_get(1)?,
        role: parsed(row, 2)?,
        projects: json(row, 3)?,
        created_at: timestamp(row, 4)?,
        created_by: row.try_get(5)?,
        expires_at: optional_timestamp(row, 6)?,
        last_used_at: optional_timestamp(row, 7)?,
    })
}

fn scope_text(scope: &Scope) -> String {
    serde_json::json!(scope.names()).to_string()
}
