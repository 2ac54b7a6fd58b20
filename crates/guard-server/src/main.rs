//! The `guard-server` binary: reads the settings and runs the library.

use std::io::Write as _;
use std::process::ExitCode;

use guard_server::cli::config::{Args, Command};
use guard_server::cli::settings::{self, LoadError, Loaded};
use guard_server::cli::{self, FAILED, USAGE, failed_with, logging, serve};
use guard_server::visible::visible;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let loaded = match settings::load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(LoadError::Help(help)) => {
            // As clap does: a closed output is no failure of the command.
            let _ = help.print();
            return if help.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
        Err(error) => return report(USAGE, &error.to_string()),
    };
    logging::start(loaded.args.log_format);
    catch_file_size_signal();
    match run(loaded).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => report(code, &message),
    }
}

fn report(code: u8, message: &str) -> ExitCode {
    // If the message cannot be written, the exit code still reports the failure.
    let _ = writeln!(std::io::stderr(), "guard-server: {}", visible(message));
    ExitCode::from(code)
}

async fn run(loaded: Loaded) -> Result<(), (u8, String)> {
    match &loaded.args.command {
        Some(Command::CheckConfig) => cli::check_config(loaded),
        Some(Command::Backup { file }) => cli::back_up(&loaded.args, file),
        Some(Command::Restore { file, replace }) => cli::restore(&loaded.args, file, *replace),
        Some(Command::Migrate(args)) => {
            cli::migrate(args, loaded.args.stores.clickhouse_cluster.as_deref()).await
        }
        Some(Command::Doctor(asked)) => {
            let asked = asked.clone();
            cli::doctor(loaded.args, &asked).await
        }
        Some(Command::People(command)) => cli::people(&loaded.args, command).await,
        Some(Command::Tokens(command)) => cli::tokens(&loaded.args, command).await,
        Some(Command::Rules(command)) => cli::rules(&loaded.args, command).await,
        Some(Command::Projects(command)) => cli::projects(&loaded.args, command).await,
        Some(Command::Keys(command)) => cli::keys(&loaded.args, command).await,
        Some(Command::Query(args)) => cli::query(args).await,
        Some(Command::Top(args)) => cli::top(args).await,
        Some(Command::Series(args)) => cli::series(args).await,
        Some(Command::Export(args)) => cli::export(args).await,
        Some(Command::Tail(args)) => cli::tail(args).await,
        Some(Command::Alerts(command)) => cli::alerts(&loaded.args, command).await,
        Some(Command::Channels(command)) => cli::channels(&loaded.args, command).await,
        None => start_server(loaded.args).await,
    }
}

async fn start_server(args: Args) -> Result<(), (u8, String)> {
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
