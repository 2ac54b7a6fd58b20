//! Queries of people about events and metrics.

mod arrivals;
mod columns;
mod condition;
mod counts;
mod grouping;
mod look_up;
mod metrics;
mod pages;
mod presence;
mod rollup;
mod scan;
#[cfg(test)]
mod tests;
mod wide;

use guard_wire::Kind;

use self::arrivals::Position;
use super::super::Sqlite;
use super::records::Place;
use crate::query::buckets::Buckets;
use crate::query::filter::Field;
use crate::query::metric::{KeyValues, MetricTopItem};
use crate::query::series::Series;
use crate::query::top::Top;
use crate::store::{
    ArrivalQuery, ArrivalSlice, Arrivals, BoxFuture, Cursor, EventQuery, EventSlice, MetricQuery,
    ProjectId, Search, Selection, StoredEvent,
};

impl Sqlite {
    fn list(&self, kind: Kind, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        Box::pin(async move {
            let after = query.after.as_ref().map(Place::of).transpose()?;
            self.search(move |connection| pages::list(connection, kind, &query, after))
                .await
        })
    }
}

impl Search for Sqlite {
    fn events(&self, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.list(Kind::Event, query)
    }

    fn metrics(&self, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.list(Kind::Metric, query)
    }

    fn event(&self, project: ProjectId, id: Cursor) -> BoxFuture<'_, Option<StoredEvent>> {
        Box::pin(async move {
            let place = Place::of(&id)?;
            self.search(move |connection| pages::event(connection, project, place))
                .await
        })
    }

    fn series(
        &self,
        selection: Selection,
        by: Option<Field>,
        buckets: Buckets,
    ) -> BoxFuture<'_, Series> {
        Box::pin(self.search(move |connection| {
            counts::series(connection, &selection, by, &buckets, counts::MAX_BODIES)
        }))
    }

    fn top(&self, selection: Selection, by: Vec<Field>, limit: usize) -> BoxFuture<'_, Top> {
        Box::pin(self.search(move |connection| {
            counts::top(connection, &selection, by, limit, counts::MAX_BODIES)
        }))
    }

    fn metric_series(&self, query: MetricQuery, buckets: Buckets) -> BoxFuture<'_, Vec<KeyValues>> {
        Box::pin(self.search(move |connection| metrics::series(connection, &query, &buckets)))
    }

    fn metric_top(&self, query: MetricQuery, limit: usize) -> BoxFuture<'_, Vec<MetricTopItem>> {
        Box::pin(self.search(move |connection| metrics::top(connection, &query, limit)))
    }
}

// These read little at a time, so they do not wait behind queries of people.
impl Arrivals for Sqlite {
    fn now(&self, project: ProjectId) -> BoxFuture<'_, Cursor> {
        Box::pin(self.read(move |connection| arrivals::now(connection, project)))
    }

    fn arrivals(&self, query: ArrivalQuery) -> BoxFuture<'_, ArrivalSlice> {
        Box::pin(async move {
            let after = Position::of(&query.after)?;
            let until = query.until.as_ref().map(Position::of).transpose()?;
            self.read(move |connection| arrivals::arrivals(connection, &query, after, until))
                .await?
        })
    }
}
