//! The `guard-server` binary: reads the options and runs the library.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use guard_server::cli::config::{Args, Command};
use guard_server::cli::{self, FAILED, USAGE, failed_with, serve};
use guard_server::visible::visible;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format;

#[tokio::main]
async fn main() -> ExitCode {
    log_to_stderr();
    catch_file_size_signal();
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Rules(command)) => cli::rules(&args, command).await,
        None => run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // If the message cannot be written, the exit code still reports the failure.
            let _ = writeln!(std::io::stderr(), "guard-server: {}", visible(&message));
            ExitCode::from(code)
        }
    }
}

/// Logs one line per event. Line breaks in quoted text are escaped, so that the text cannot forge
/// another line.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let fields = format::debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", visible(&text)),
            name => write!(writer, "{name}={}", visible(&text)),
        }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields.delimited(" "))
        .with_writer(std::io::stderr)
        // The subscriber would report them with a write that panics if it fails too.
        .log_internal_errors(false)
        .init();
}

async fn run(args: Args) -> Result<(), (u8, String)> {
    let config = args.check().map_err(failed_with(USAGE))?;
    // Listen for signals before announcing anything.
    let mut terminate = signal(SignalKind::terminate()).map_err(failed_with(FAILED))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed_with(FAILED))?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve::run(config, &mut std::io::stdout(), shutdown)
        .await
        .map_err(failed_with(FAILED))
}

/// Turns writes beyond the file size limit into errors, as on a full disk. Without a handler, the
/// system's signal would end the process.
fn catch_file_size_signal() {
    let kind = SignalKind::from_raw(Signal::XFSZ.as_raw());
    if let Err(error) = signal(kind) {
        tracing::warn!(%error, "a file that grows to its limit will end the server");
    }
}
