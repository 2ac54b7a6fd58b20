//! The log, on the standard error.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format;

use crate::cli::config::LogFormat;
use crate::visible::visible;

/// What is logged if `RUST_LOG` is not set. The pool of connections logs every connection that failed;
/// the store logs the outage, once.
const DEFAULT: &str = "info,deadpool=off";

/// Starts the log. `RUST_LOG` sets its level: `info` by default.
pub fn start(log_format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // The subscriber would report them with a write that panics if it fails too.
        .log_internal_errors(false);
    match log_format {
        LogFormat::Text => {
            // Line breaks in quoted text are escaped, so that the text cannot forge another line.
            let fields = format::debug_fn(|writer, field, value| {
                let text = format!("{value:?}");
                match field.name() {
                    "message" => write!(writer, "{}", visible(&text)),
                    name => write!(writer, "{name}={}", visible(&text)),
                }
            });
            log.fmt_fields(fields.delimited(" ")).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
