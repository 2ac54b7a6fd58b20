//! Queries of people about events and metrics.

mod columns;
mod condition;
mod counts;
mod grouping;
mod json;
mod metrics;
mod pages;
mod params;
mod ranking;
mod run;
mod scan;
mod sketch;
#[cfg(test)]
mod tests;

use guard_wire::Kind;

pub(super) use self::run::Searches;
use super::ClickHouse;
use super::place::Place;
use crate::query::buckets::Buckets;
use crate::query::filter::Field;
use crate::query::metric::{KeyValues, MetricTopItem};
use crate::query::series::Series;
use crate::query::top::Top;
use crate::store::{
    BoxFuture, Cursor, EventQuery, EventSlice, MetricQuery, ProjectId, Search, Selection,
    StoredEvent,
};

impl ClickHouse {
    fn list(&self, kind: Kind, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        Box::pin(async move {
            let after = query.after.as_ref().map(Place::of).transpose()?;
            let run = self.run(query.selection.project);
            self.search(pages::list(&run, kind, &query, after)).await
        })
    }
}

impl Search for ClickHouse {
    fn events(&self, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.list(Kind::Event, query)
    }

    fn metrics(&self, query: EventQuery) -> BoxFuture<'_, EventSlice> {
        self.list(Kind::Metric, query)
    }

    fn event(&self, project: ProjectId, id: Cursor) -> BoxFuture<'_, Option<StoredEvent>> {
        Box::pin(async move {
            let place = Place::of(&id)?;
            let run = self.run(project);
            self.search(pages::event(&run, project, place)).await
        })
    }

    fn series(
        &self,
        selection: Selection,
        by: Option<Field>,
        buckets: Buckets,
    ) -> BoxFuture<'_, Series> {
        Box::pin(async move {
            let run = self.run(selection.project);
            self.search(counts::series(&run, &selection, by, &buckets))
                .await
        })
    }

    fn top(&self, selection: Selection, by: Vec<Field>, limit: usize) -> BoxFuture<'_, Top> {
        Box::pin(async move {
            let run = self.run(selection.project);
            self.search(counts::top(&run, &selection, by, limit)).await
        })
    }

    fn metric_series(&self, query: MetricQuery, buckets: Buckets) -> BoxFuture<'_, Vec<KeyValues>> {
        Box::pin(async move {
            let run = self.run(query.selection.project);
            self.search(metrics::series(&run, &query, &buckets)).await
        })
    }

    fn metric_top(&self, query: MetricQuery, limit: usize) -> BoxFuture<'_, Vec<MetricTopItem>> {
        Box::pin(async move {
            let run = self.run(query.selection.project);
            self.search(metrics::top(&run, &query, limit)).await
        })
    }
}
