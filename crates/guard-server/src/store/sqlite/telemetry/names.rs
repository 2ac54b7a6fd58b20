//! The dictionaries: the ids of texts that repeat.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::{Column, ProjectId, TextField};

/// The longest text in a dictionary, in bytes. Longer text is only in the body.
const MAX_NAME_LEN: usize = 512;
/// How many names the writer remembers. Beyond that it forgets all and reads them again.
const MAX_REMEMBERED: usize = 500_000;
/// The id for a value that only the body tells.
pub(super) const IN_BODY: i64 = 0;

/// How many names a project has at most in a field. Types have their own, configurable limit.
const fn limit(field: TextField) -> usize {
    match field {
        TextField::EventType | TextField::MetricType => 1_000,
        TextField::Method | TextField::Environment => 64,
        TextField::ActionTaken
        | TextField::RuleType
        | TextField::DecoratorType
        | TextField::ServiceName
        | TextField::GuardProject => 256,
        TextField::Country | TextField::Address | TextField::HandlerName => 1_000,
        TextField::InstallId
        | TextField::Endpoint
        | TextField::Reason
        | TextField::UserAgent
        | TextField::PatternMatched
        | TextField::RuleId => 10_000,
    }
}

/// The names that the writer knows. They stand for what is committed or about to be: after a
/// rollback they must be forgotten.
#[derive(Debug, Default)]
pub(in super::super) struct Names {
    fields: HashMap<(ProjectId, TextField), Dictionary>,
    remembered: usize,
    rollbacks: u64,
}

#[derive(Debug)]
struct Dictionary {
    names: HashMap<Box<str>, Name>,
    last: i64,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    id: i64,
    /// The last day on which it is known to be in use.
    seen: i64,
}

impl Names {
    /// Forgets all names if a write was rolled back since the last call.
    pub(super) fn follow(&mut self, rollbacks: u64) {
        if self.rollbacks != rollbacks || self.remembered > MAX_REMEMBERED {
            *self = Self {
                rollbacks,
                ..Self::default()
            };
        }
    }

    /// Forgets all names, because some were removed.
    pub(super) fn forget(&mut self) {
        self.fields.clear();
        self.remembered = 0;
    }

    /// The id of a text on `day`, which is made if there is room for it. `None` if it is absent.
    pub(super) fn id(
        &mut self,
        connection: &Connection,
        project: ProjectId,
        field: TextField,
        text: Column<&str>,
        day: i64,
    ) -> rusqlite::Result<Option<i64>> {
        self.id_within(connection, (project, field), text, day, limit(field))
    }

    /// Like [`id`](Self::id), with another limit.
    pub(super) fn id_within(
        &mut self,
        connection: &Connection,
        (project, field): (ProjectId, TextField),
        text: Column<&str>,
        day: i64,
        limit: usize,
    ) -> rusqlite::Result<Option<i64>> {
        let text = match text {
            Column::Absent => return Ok(None),
            Column::Value(text) if text.len() <= MAX_NAME_LEN => text,
            Column::Value(_) | Column::InBody => return Ok(Some(IN_BODY)),
        };
        let dictionary = match self.fields.entry((project, field)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let read = Dictionary::read(connection, project, field)?;
                self.remembered += read.names.len();
                new.insert(read)
            }
        };
        if let Some(name) = dictionary.names.get_mut(text) {
            if name.seen < day {
                name.seen = day;
                mark_seen(connection, project, field, *name)?;
            }
            return Ok(Some(name.id));
        }
        if dictionary.names.len() >= limit {
            return Ok(Some(IN_BODY));
        }
        let name = Name {
            id: dictionary.last + 1,
            seen: day,
        };
        insert(connection, project, field, text, name)?;
        dictionary.last = name.id;
        dictionary.names.insert(text.into(), name);
        self.remembered += 1;
        Ok(Some(name.id))
    }
}

impl Dictionary {
    fn read(
        connection: &Connection,
        project: ProjectId,
        field: TextField,
    ) -> rusqlite::Result<Self> {
        let mut statement = connection
            .prepare_cached("SELECT id, text, seen FROM names WHERE project = ?1 AND field = ?2")?;
        let mut rows = statement.query(params![project.0, field as u8])?;
        let (mut names, mut last) = (HashMap::new(), 0);
        while let Some(row) = rows.next()? {
            let (id, seen) = (row.get(0)?, row.get(2)?);
            last = last.max(id);
            names.insert(row.get::<_, String>(1)?.into(), Name { id, seen });
        }
        Ok(Self { names, last })
    }
}

fn insert(
    connection: &Connection,
    project: ProjectId,
    field: TextField,
    text: &str,
    name: Name,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO names (project, field, id, text, seen) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![project.0, field as u8, name.id, text, name.seen])
        .map(drop)
}

fn mark_seen(
    connection: &Connection,
    project: ProjectId,
    field: TextField,
    name: Name,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE names SET seen = ?4 WHERE project = ?1 AND field = ?2 AND id = ?3")?
        .execute(params![project.0, field as u8, name.id, name.seen])
        .map(drop)
}

/// The text of a name.
pub(super) fn text(
    connection: &Connection,
    project: ProjectId,
    field: TextField,
    id: i64,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT text FROM names WHERE project = ?1 AND field = ?2 AND id = ?3")?
        .query_row(params![project.0, field as u8, id], |row| row.get(0))
        .optional()
}

/// The id of a name, if the text is one.
pub(super) fn id(
    connection: &Connection,
    project: ProjectId,
    field: TextField,
    text: &str,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM names WHERE project = ?1 AND field = ?2 AND text = ?3")?
        .query_row(params![project.0, field as u8, text], |row| row.get(0))
        .optional()
}

/// Removes names of a project that no record since `day` uses, at most `most`. The newest name of a
/// field stays, so that its id is never used again.
pub(super) fn remove_unused(
    connection: &Connection,
    project: ProjectId,
    day: i64,
    most: i64,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM names WHERE (project, field, id) IN
                (SELECT project, field, id FROM names WHERE project = ?1 AND seen < ?2 AND id <
                    (SELECT max(id) FROM names AS n
                     WHERE n.project = names.project AND n.field = names.field)
                 LIMIT ?3)",
        )?
        .execute(params![project.0, day, most])
}
