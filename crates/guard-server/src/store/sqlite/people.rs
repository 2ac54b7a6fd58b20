//! People, sessions, setup links and tokens in SQLite.

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Sqlite, unreadable};
use crate::people::{
    AuditEntry, CredentialHash, Person, PersonOutcome, PersonUpdate, Scope, Session, SessionLimits,
    SetupLink, Token,
};
use crate::store::{BoxFuture, People};

const PERSON: &str = "name, role, projects, password IS NOT NULL, people.created_at, signed_in_at";
const TOKEN: &str =
    "id, label, role, projects, created_at, created_by, expires_at, last_used_at FROM tokens";
/// A person who can manage the server.
const IS_ADMIN: &str = "role = 'admin' AND projects = '[\"*\"]' AND password IS NOT NULL";

impl People for Sqlite {
    fn people(&self) -> BoxFuture<'_, Vec<Person>> {
        Box::pin(self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {PERSON} FROM people ORDER BY name"))?
                .query_map([], |row| person(row, 0))?
                .collect()
        }))
    }

    fn person<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Person>> {
        let name = name.to_owned();
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {PERSON} FROM people WHERE name = ?1"))?
                .query_row([name], |row| person(row, 0))
                .optional()
        }))
    }

    fn needs_setup(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.read(|connection| Ok(admins(connection)? == 0)))
    }

    fn password_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        let name = name.to_owned();
        Box::pin(self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT password FROM people WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?;
            Ok(found.flatten())
        }))
    }

    fn add_person(
        &self,
        person: Person,
        password: Option<String>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            add_person(connection, &person, password.as_deref())
        })
    }

    fn change_person<'a>(
        &'a self,
        name: &'a str,
        update: PersonUpdate,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome> {
        let name = name.to_owned();
        self.audited(0, entry, move |connection| {
            keeping_an_admin(connection, |connection| {
                if let Some(password) = &update.password {
                    end_access(connection, &name)?;
                    let set = "UPDATE people SET password = ?2 WHERE name = ?1";
                    connection.execute(set, params![name, password])?;
                }
                let set = "UPDATE people SET role = coalesce(?2, role),
                    projects = coalesce(?3, projects) WHERE name = ?1";
                let role = update.role.map(crate::people::Role::name);
                let projects = update.projects.as_ref().map(scope_text);
                connection.execute(set, params![name, role, projects])
            })
        })
    }

    fn remove_person<'a>(
        &'a self,
        name: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, PersonOutcome> {
        let name = name.to_owned();
        self.audited(0, entry, move |connection| {
            keeping_an_admin(connection, |connection| {
                end_access(connection, &name)?;
                connection.execute("DELETE FROM people WHERE name = ?1", [&name])
            })
        })
    }

    fn add_link(
        &self,
        hash: CredentialHash,
        link: SetupLink,
        keep: u16,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        self.audited(0, entry, move |connection| {
            let old = "DELETE FROM setup_links WHERE person = ?1";
            connection.execute(old, [&link.person])?;
            let add = "INSERT INTO setup_links (hash, person, created_at) VALUES (?1, ?2, ?3)";
            let at = link.created_at.as_microsecond();
            connection.execute(add, params![hash.as_bytes(), link.person, at])?;
            let beyond = "DELETE FROM setup_links WHERE person IS NULL AND hash NOT IN
                (SELECT hash FROM setup_links WHERE person IS NULL
                 ORDER BY created_at DESC, hash LIMIT ?1)";
            connection.execute(beyond, [keep]).map(drop)
        })
    }

    fn link(&self, hash: CredentialHash) -> BoxFuture<'_, Option<SetupLink>> {
        Box::pin(self.read(move |connection| link(connection, hash)))
    }

    fn use_link(
        &self,
        hash: CredentialHash,
        person: Person,
        password: String,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            use_link(connection, hash, &person, &password)
        })
    }

    fn add_session(
        &self,
        hash: CredentialHash,
        session: Session,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, bool> {
        self.audited(0, entry, move |connection| {
            let add = "INSERT INTO sessions (hash, person, created_at, seen_at)
                SELECT ?1, name, ?3, ?4 FROM people WHERE name = ?2";
            let (at, seen) = (session.created_at, session.seen_at);
            let (at, seen) = (at.as_microsecond(), seen.as_microsecond());
            let added =
                connection.execute(add, params![hash.as_bytes(), session.person, at, seen])?;
            let set = "UPDATE people SET signed_in_at = ?2 WHERE name = ?1";
            connection.execute(set, params![session.person, at])?;
            Ok(added > 0)
        })
    }

    fn session(&self, hash: CredentialHash) -> BoxFuture<'_, Option<(Session, Person)>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT sessions.created_at, seen_at, {PERSON}
                     FROM sessions JOIN people ON name = person WHERE hash = ?1"
                ))?
                .query_row([hash.as_bytes()], |row| {
                    let person = person(row, 2)?;
                    let session = Session {
                        person: person.name.clone(),
                        created_at: at(row, 0)?,
                        seen_at: at(row, 1)?,
                    };
                    Ok((session, person))
                })
                .optional()
        }))
    }

    fn touch_session(&self, hash: CredentialHash, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(self.writer.write(0, move |connection| {
            let at = at.as_microsecond();
            let set = "UPDATE sessions SET seen_at = ?2 WHERE hash = ?1";
            connection.execute(set, params![hash.as_bytes(), at])?;
            let set = "UPDATE people SET signed_in_at = ?2
                WHERE name = (SELECT person FROM sessions WHERE hash = ?1)";
            connection
                .execute(set, params![hash.as_bytes(), at])
                .map(drop)
        }))
    }

    fn remove_session(&self, hash: CredentialHash, entry: Option<AuditEntry>) -> BoxFuture<'_, ()> {
        self.audited(0, entry, move |connection| {
            let remove = "DELETE FROM sessions WHERE hash = ?1";
            connection.execute(remove, [hash.as_bytes()]).map(drop)
        })
    }

    fn remove_sessions<'a>(
        &'a self,
        person: &'a str,
        keep: Option<CredentialHash>,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, u64> {
        let person = person.to_owned();
        self.audited(0, entry, move |connection| {
            let remove = "DELETE FROM sessions WHERE person = ?1 AND hash IS NOT ?2";
            let keep = keep.as_ref().map(CredentialHash::as_bytes);
            Ok(connection.execute(remove, params![person, keep])? as u64)
        })
    }

    fn count_sessions(&self) -> BoxFuture<'_, u64> {
        Box::pin(self.read(|connection| {
            let count = "SELECT count(*) FROM sessions";
            let n: i64 = connection
                .prepare_cached(count)?
                .query_row([], |row| row.get(0))?;
            Ok(u64::try_from(n).unwrap_or(0))
        }))
    }

    fn expire_sessions(&self, limits: SessionLimits, now: Timestamp) -> BoxFuture<'_, u64> {
        Box::pin(self.writer.write(0, move |connection| {
            let before = |limit| {
                let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
                now.saturating_sub(limit)
                    .map_or(i64::MIN, Timestamp::as_microsecond)
            };
            let over = "DELETE FROM sessions WHERE created_at <= ?1 OR seen_at <= ?2";
            let removed = connection.execute(over, [before(limits.total), before(limits.idle)])?;
            Ok(removed as u64)
        }))
    }

    fn tokens(&self) -> BoxFuture<'_, Vec<Token>> {
        Box::pin(self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {TOKEN} ORDER BY created_at, id"))?
                .query_map([], token)?
                .collect()
        }))
    }

    fn token(&self, hash: CredentialHash) -> BoxFuture<'_, Option<Token>> {
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {TOKEN} WHERE hash = ?1"))?
                .query_row([hash.as_bytes()], token)
                .optional()
        }))
    }

    fn save_token(
        &self,
        hash: CredentialHash,
        token: Token,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'_, ()> {
        self.audited(0, entry, move |connection| {
            connection
                .execute(
                    "INSERT OR REPLACE INTO tokens (id, hash, label, role, projects, created_at,
                        created_by, expires_at, last_used_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        token.id,
                        hash.as_bytes(),
                        token.label,
                        token.role.name(),
                        scope_text(&token.projects),
                        token.created_at.as_microsecond(),
                        token.created_by,
                        token.expires_at.map(Timestamp::as_microsecond),
                        token.last_used_at.map(Timestamp::as_microsecond),
                    ],
                )
                .map(drop)
        })
    }

    fn touch_token<'a>(&'a self, id: &'a str, at: Timestamp) -> BoxFuture<'a, ()> {
        let id = id.to_owned();
        Box::pin(self.writer.write(0, move |connection| {
            let set = "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1";
            connection
                .execute(set, params![id, at.as_microsecond()])
                .map(drop)
        }))
    }

    fn remove_token<'a>(
        &'a self,
        id: &'a str,
        entry: Option<AuditEntry>,
    ) -> BoxFuture<'a, Option<Token>> {
        let id = id.to_owned();
        self.audited(0, entry, move |connection| {
            let found = connection
                .prepare_cached(&format!("SELECT {TOKEN} WHERE id = ?1"))?
                .query_row([&id], token)
                .optional()?;
            connection.execute("DELETE FROM tokens WHERE id = ?1", [&id])?;
            Ok(found)
        })
    }
}

fn admins(connection: &Connection) -> rusqlite::Result<u32> {
    let count = format!("SELECT count(*) FROM people WHERE {IS_ADMIN}");
    connection
        .prepare_cached(&count)?
        .query_row([], |row| row.get(0))
}

/// Makes a change that returns how many people it concerned. Takes it back if it removed the last
/// admin.
fn keeping_an_admin(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
) -> rusqlite::Result<PersonOutcome> {
    let had_admins = admins(connection)? > 0;
    connection.execute_batch("SAVEPOINT change")?;
    let changed = change(connection);
    let outcome = match changed {
        Ok(0) => Ok(PersonOutcome::NotFound),
        Ok(_) if had_admins && admins(connection)? == 0 => Ok(PersonOutcome::LastAdmin),
        Ok(_) => Ok(PersonOutcome::Changed),
        Err(error) => return Err(error),
    };
    let end = match outcome {
        Ok(PersonOutcome::LastAdmin) => "ROLLBACK TO change; RELEASE change",
        _ => "RELEASE change",
    };
    connection.execute_batch(end)?;
    outcome
}

/// Ends the sessions and links of a person.
fn end_access(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sessions WHERE person = ?1", [name])?;
    connection.execute("DELETE FROM setup_links WHERE person = ?1", [name])?;
    Ok(())
}

fn add_person(
    connection: &Connection,
    person: &Person,
    password: Option<&str>,
) -> rusqlite::Result<bool> {
    let added = connection.execute(
        "INSERT INTO people (name, role, projects, password, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![
            person.name,
            person.role.name(),
            scope_text(&person.projects),
            password,
            person.created_at.as_microsecond()
        ],
    )?;
    Ok(added > 0)
}

fn link(connection: &Connection, hash: CredentialHash) -> rusqlite::Result<Option<SetupLink>> {
    connection
        .prepare_cached("SELECT person, created_at FROM setup_links WHERE hash = ?1")?
        .query_row([hash.as_bytes()], |row| {
            Ok(SetupLink {
                person: row.get(0)?,
                created_at: at(row, 1)?,
            })
        })
        .optional()
}

fn use_link(
    connection: &Connection,
    hash: CredentialHash,
    person: &Person,
    password: &str,
) -> rusqlite::Result<bool> {
    match link(connection, hash)? {
        None => Ok(false),
        Some(SetupLink { person: None, .. }) => {
            let is_added = add_person(connection, person, Some(password))?;
            if is_added {
                connection.execute("DELETE FROM setup_links WHERE person IS NULL", [])?;
            }
            Ok(is_added)
        }
        Some(SetupLink {
            person: Some(name), ..
        }) => {
            end_access(connection, &name)?;
            let set = "UPDATE people SET password = ?2 WHERE name = ?1";
            Ok(connection.execute(set, params![name, password])? > 0)
        }
    }
}

fn person(row: &Row<'_>, first: usize) -> rusqlite::Result<Person> {
    Ok(Person {
        name: row.get(first)?,
        role: parsed(row, first + 1)?,
        projects: scope(row, first + 2)?,
        has_password: row.get(first + 3)?,
        created_at: at(row, first + 4)?,
        last_seen_at: time(row, first + 5)?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        label: row.get(1)?,
        role: parsed(row, 2)?,
        projects: scope(row, 3)?,
        created_at: at(row, 4)?,
        created_by: row.get(5)?,
        expires_at: time(row, 6)?,
        last_used_at: time(row, 7)?,
    })
}

fn parsed<T: std::str::FromStr<Err = String>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|why: String| unreadable(column, Type::Text, std::io::Error::other(why)))
}

fn scope_text(scope: &Scope) -> String {
    serde_json::json!(scope.names()).to_string()
}

fn scope(row: &Row<'_>, column: usize) -> rusqlite::Result<Scope> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, Type::Text, error))
}

fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(time(row, column)?.unwrap_or_default())
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let microseconds: Option<i64> = row.get(column)?;
    let time = microseconds.map(Timestamp::from_microsecond).transpose();
    time.map_err(|error| unreadable(column, Type::Integer, error))
}
