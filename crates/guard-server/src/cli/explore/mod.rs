//! `guard-server query`, `top`, `series`, `export` and `tail`: ask a running server about its records.

mod arguments;
mod chart;
mod export;
mod frames;
mod query;
mod series;
mod tail;
mod top;

pub use self::arguments::{
    ExportArgs, Format, MetricArgs, QueryArgs, SelectionArgs, SeriesArgs, TailArgs, TopArgs,
};
pub use self::export::export;
pub use self::query::query;
pub use self::series::series;
pub use self::tail::tail;
pub use self::top::top;
