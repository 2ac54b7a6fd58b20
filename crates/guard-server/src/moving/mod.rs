//! Moves everything from the file of one server to databases that several servers share.
//!
//! The control tables are copied by the store ([`Move`]). The records are read in the order of their
//! time and stored like those of agents: each has the key that it had, so one that is moved twice counts
//! once. The store notes how far that is, and an attempt that ends early continues there. In the end the
//! counts of both are compared, and a sample of events.

mod records;
mod verify;

use thiserror::Error;

use self::records::Transfer;
use crate::store::{Move, MoveError, Project, StoreError, Stores};

/// How the records of one project were moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Events.
    pub events: u64,
    /// Single metrics.
    pub metrics: u64,
    /// Events that were compared one by one.
    pub compared: u64,
}

/// Why a move ended early, or what differs after it.
#[derive(Debug, Error)]
pub enum MovingError {
    /// The control tables cannot be moved.
    #[error(transparent)]
    Tables(#[from] MoveError),
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Source(StoreError),
    /// The records cannot be stored.
    #[error("the records cannot be stored: {0}; run the command again to continue")]
    Target(StoreError),
    /// There are records already.
    #[error(
        "the database of --to-telemetry has records of the project number {0}, and not from this \
         file: give an empty database, or remove them"
    )]
    NotEmpty(i64),
    /// This server does not take a record of the file.
    #[error("the project {project} has a record that this server does not take: {why}")]
    Record {
        /// The project.
        project: String,
        /// What is wrong with it.
        why: String,
    },
    /// The two differ.
    #[error(
        "the project {project} differs after the move: {what}; nothing was removed from the file"
    )]
    Differs {
        /// The project.
        project: String,
        /// What differs.
        what: String,
    },
}

/// Checks that a move that begins finds no records.
///
/// # Errors
///
/// [`MovingError::NotEmpty`] if it does.
pub async fn check_empty(from: &Stores, to: &Stores) -> Result<(), MovingError> {
    for project in from
        .projects
        .projects()
        .await
        .map_err(MovingError::Source)?
    {
        let found = verify::counts(to, project.id)
            .await
            .map_err(MovingError::Target)?;
        if found.events + found.metrics > 0 {
            return Err(MovingError::NotEmpty(project.id.0));
        }
    }
    Ok(())
}

/// Moves the records of a project, and compares both. Tells `progress` how many are moved.
///
/// # Errors
///
/// [`MovingError`] if it cannot, or if the two differ.
pub async fn move_records(
    (from, to): (&Stores, &Stores),
    moving: &Move<'_>,
    project: &Project,
    mut progress: impl FnMut(&str, u64) + Send,
) -> Result<Moved, MovingError> {
    let transfer = Transfer {
        from,
        to,
        moving,
        project,
    };
    let moved = transfer.run(&mut progress).await?;
    let compared = verify::verify(from, to, project, moved).await?;
    Ok(Moved {
        events: moved.events,
        metrics: moved.metrics,
        compared,
    })
}
