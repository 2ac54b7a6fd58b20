//! `guard-server doctor`: checks what makes a server fail, and says what to do.

mod through;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, getrlimit};

pub use self::through::DoctorArgs;
use self::through::through;
use crate::cli::config::{Args, Config};
use crate::cli::{FAILED, USAGE, failed_with};
use crate::http::connections::tls::{Tls, TlsFiles};
use crate::store::{self, Location, Lock, LockError, Shared};

/// Less free disk than this is a failure.
const LEAST_FREE: u64 = 256 << 20;
/// The part of the disk that should be free: one in this many.
const FREE_PART: u64 = 10;
/// How long the check of the database may take. The rest of a large database is not checked.
const CHECK_TIME: Duration = Duration::from_secs(60);
/// A certificate that expires sooner than this is a warning.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A file changed further in the future than this shows that the clock was set back.
const AHEAD: Duration = Duration::from_secs(60);
/// Files that the server needs besides its connections.
const OTHER_FILES: u64 = 64;

enum Level {
    Ok,
    Warn,
    Fail,
}

use Level::{Fail, Ok as Fine, Warn};

struct Finding(Level, &'static str, String);

/// Runs `guard-server doctor`.
///
/// # Errors
///
/// The exit code, and a message, if a check fails.
pub async fn doctor(args: Args, asked: &DoctorArgs) -> Result<(), (u8, String)> {
    let file = args.config.clone();
    let secrets = [
        &args.api_key,
        &args.signing_secret,
        &args.stores.control_url,
        &args.stores.telemetry_url,
    ];
    let has_secrets = secrets.iter().any(|secret| secret.is_some());
    let mail_password = args.outbound.mail_password_file.clone();
    let config = args.check().map_err(failed_with(USAGE))?;
    let mut findings = vec![Finding(Fine, "settings", "valid".to_owned())];
    if let Some(file) = file.filter(|_| has_secrets) {
        findings.push(permissions("configuration", &file));
    }
    if let Some(file) = mail_password {
        findings.push(permissions("mail password", &file));
    }
    match &config.stores {
        Location::File(path) => findings.extend(of_file(path)),
        Location::Shared(shared) => findings.extend(of_shared(shared).await),
    }
    findings.push(files(&config));
    if let Some(tls) = &config.tls {
        findings.push(certificate(tls, Timestamp::now()));
    }
    if let Some(url) = &asked.url {
        findings.extend(through(url, asked, &config).await);
    }
    let mut text = String::new();
    for Finding(level, name, what) in &findings {
        let level = match level {
            Fine => "ok",
            Warn => "warn",
            Fail => "fail",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{level:4}  {name:13}  {what}");
    }
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| {
        (
            FAILED,
            format!("cannot write to the standard output: {error}"),
        )
    })?;
    let failed = findings.iter().filter(|it| matches!(it.0, Fail)).count();
    match failed {
        0 => Ok(()),
        n => Err((FAILED, format!("{n} of {} checks failed", findings.len()))),
    }
}

/// Checks a database in a file.
fn of_file(path: &Path) -> Vec<Finding> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut findings = vec![server(path), permissions("directory", directory)];
    if path.exists() {
        findings.push(permissions("database file", path));
    }
    findings.extend([disk(directory, path), clock(path), database(path)]);
    findings
}

/// Checks databases that several servers share.
async fn of_shared(shared: &Shared) -> Vec<Finding> {
    let [control, telemetry] = shared.inspect().await;
    [("PostgreSQL", control), ("ClickHouse", telemetry)]
        .map(|(name, found)| match found {
            Ok(what) => Finding(Fine, name, what),
            Err(error) => Finding(Fail, name, error.to_string()),
        })
        .into()
}

/// Whether a server runs. Takes its lock for a moment, if none does.
fn server(database: &Path) -> Finding {
    if !database.exists() {
        return Finding(Fine, "server", "not started yet".to_owned());
    }
    match Lock::take(database) {
        Ok(_) => Finding(Fine, "server", "not running".to_owned()),
        Err(LockError::Held { holder, .. }) => Finding(Fine, "server", format!("runs, {holder}")),
        Err(error) => Finding(Fail, "server", error.to_string()),
    }
}

fn permissions(name: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let mode = found.permissions().mode() & 0o777;
            let what = format!(
                "{shown} has mode {mode:o}, and holds secrets: chmod {}",
                if found.is_dir() { "700" } else { "600" }
            );
            Finding(Warn, name, what)
        }
        Ok(_) => Finding(Fine, name, format!("{shown}, for its owner only")),
        Err(error) => Finding(Fail, name, format!("{shown}: {error}")),
    }
}

fn disk(directory: &Path, database: &Path) -> Finding {
    let found = match rustix::fs::statvfs(directory) {
        Ok(found) => found,
        Err(error) => return Finding(Fail, "disk", error.to_string()),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let whole = found.f_blocks.saturating_mul(found.f_frsize);
    let used = database.metadata().map_or(0, |it| it.len());
    let what = format!(
        "{} MiB free, the database has {} MiB",
        free >> 20,
        used >> 20
    );
    if free < LEAST_FREE {
        let what = format!("{what}: free some space, or nothing can be stored soon");
        return Finding(Fail, "disk", what);
    }
    if free < whole / FREE_PART || free < used {
        let what = format!("{what}: a backup may not fit here");
        return Finding(Warn, "disk", what);
    }
    Finding(Fine, "disk", what)
}

fn clock(database: &Path) -> Finding {
    let now = SystemTime::now();
    let last = database.metadata().and_then(|found| found.modified());
    match last {
        Ok(last) if last > now + AHEAD => Finding(
            Fail,
            "clock",
            "earlier than the last write to the database: set it right before the start".to_owned(),
        ),
        _ => Finding(Fine, "clock", Timestamp::now().to_string()),
    }
}

fn database(path: &Path) -> Finding {
    if !path.exists() {
        let what = format!("none yet at {}: the first start creates it", path.display());
        return Finding(Fine, "database", what);
    }
    match store::inspect(path, CHECK_TIME) {
        Ok(found) if found.version < found.known => Finding(
            Warn,
            "database",
            format!(
                "valid, schema version {}: the next start converts it to {}; make a backup first",
                found.version, found.known
            ),
        ),
        Ok(found) => {
            let extent = if found.is_whole {
                "checked"
            } else {
                "checked in part"
            };
            let what = format!("valid, schema version {}, {extent}", found.version);
            Finding(Fine, "database", what)
        }
        Err(error) => Finding(Fail, "database", error.to_string()),
    }
}

fn files(config: &Config) -> Finding {
    let connections = config
        .connections
        .open
        .saturating_add(config.connections.held);
    let needed = (connections as u64).saturating_add(OTHER_FILES);
    match getrlimit(Resource::Nofile).maximum {
        Some(allowed) if allowed < needed => Finding(
            Warn,
            "open files",
            format!("{allowed} allowed, {needed} needed: raise the limit (LimitNOFILE, ulimit -n)"),
        ),
        _ => Finding(Fine, "open files", format!("{needed} allowed")),
    }
}

fn certificate(files: &TlsFiles, now: Timestamp) -> Finding {
    let expiry = Tls::load(files.clone()).and_then(|_| files.expiry());
    match expiry {
        Err(error) => Finding(Fail, "certificate", error.to_string()),
        Ok(until) if until <= now => {
            let what = format!("expired at {until}: renew it");
            Finding(Fail, "certificate", what)
        }
        Ok(until) if until.duration_since(now) < EXPIRES_SOON => {
            let what = format!("expires at {until}: renew it");
            Finding(Warn, "certificate", what)
        }
        Ok(until) => Finding(Fine, "certificate", format!("valid until {until}")),
    }
}
