//! `guard-server query`, `top`, `series` and `export`: ask a running server about its records.

mod arguments;
mod chart;
mod export;
mod query;
mod series;
mod top;

pub use self::arguments::{
    ExportArgs, Format, MetricArgs, QueryArgs, SelectionArgs, SeriesArgs, TopArgs,
};
pub use self::export::export;
pub use self::query::query;
pub use self::series::series;
pub use self::top::top;
