//! The events of a project in order of arrival, for readers that follow what is committed.

use super::{BoxFuture, Cursor, ProjectId, StoredEvent};

/// A part of the list of events in order of arrival.
#[derive(Debug, Clone)]
pub struct ArrivalQuery {
    /// The project.
    pub project: ProjectId,
    /// Only events that arrived after this position.
    pub after: Cursor,
    /// Only events up to this position, itself included.
    pub until: Option<Cursor>,
    /// The most events.
    pub limit: u16,
    /// Stop at the event that brings the total to this many bytes of JSON.
    pub bytes: usize,
}

/// An event that arrived.
#[derive(Debug, Clone)]
pub struct ArrivedEvent {
    /// The position of this event. Reading goes on after it.
    pub position: Cursor,
    /// The event.
    pub event: StoredEvent,
}

/// A part of the list of events in order of arrival.
#[derive(Debug)]
pub struct ArrivalSlice {
    /// The events.
    pub events: Vec<ArrivedEvent>,
    /// Where the next slice begins.
    pub next: Cursor,
    /// Whether nothing else was committed yet, up to the end of the query.
    pub is_complete: bool,
}

/// The events of a project in order of arrival.
///
/// A reader that begins each query where the last one ended reads every event once, however many
/// batches are written meanwhile. An event that is sent again does not arrive again. An event that
/// comes late has its place where it arrived, whatever its timestamp says. Positions stay valid
/// when the server starts again. They do not say how much lies between them.
pub trait Arrivals: Send + Sync {
    /// The position after everything that is committed now.
    fn now(&self, project: ProjectId) -> BoxFuture<'_, Cursor>;

    /// The events after a position.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidCursor`](super::StoreError::InvalidCursor) for a position of another
    /// store or another project. [`StoreError::ExpiredCursor`](super::StoreError::ExpiredCursor) if
    /// an event that arrived after the position was removed, for example by retention. To go on
    /// without it, begin at [`now`](Self::now).
    fn arrivals(&self, query: ArrivalQuery) -> BoxFuture<'_, ArrivalSlice>;
}
