//! `guard-server export`: all events that match, as a file or on standard output.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Method, Response};

use super::super::client::{Client, cause};
use super::super::{FAILED, Outcome};
use super::ExportArgs;

/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// Runs `guard-server export`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed. What was written by then is not complete.
pub async fn export(args: &ExportArgs) -> Outcome<()> {
    let client = Client::new(&args.server)?;
    let mut params = args.selection.params();
    params.push(("format", args.format.name().to_owned()));
    if args.bom {
        params.push(("bom", "1".to_owned()));
    }
    let request = client.in_project(Method::GET, &["events", "export"]);
    let response = client.open(request.query(&params)).await?;
    let Some(path) = &args.output else {
        let is_seen = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let copied = copy(response, &mut io::stdout().lock(), Progress::new(is_seen)).await;
        return match copied {
            // The reader has seen enough, as `head` does.
            Err(CopyError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error.of("standard output", "what was written is not complete")),
            Ok(()) => Ok(()),
        };
    };
    save(response, path).await
}

/// Writes to a file that has another name until it is complete.
async fn save(response: Response, path: &Path) -> Outcome<()> {
    let partial = partial(path);
    let shown = partial.display().to_string();
    let failed = |error: io::Error| (FAILED, format!("--output: cannot write {shown}: {error}"));
    let mut file = File::create(&partial).map_err(failed)?;
    let progress = Progress::new(io::stderr().is_terminal());
    let copied = copy(response, &mut file, progress).await;
    copied.map_err(|error| error.of(&shown, &format!("{shown} is not complete")))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(|error| {
        let path = path.display();
        (
            FAILED,
            format!("--output: cannot rename {shown} to {path}: {error}"),
        )
    })
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Why an export ended early.
enum CopyError {
    /// The connection broke, or the server gave up.
    Read(String),
    Write(io::Error),
}

impl CopyError {
    fn of(self, target: &str, consequence: &str) -> (u8, String) {
        let message = match self {
            Self::Read(cause) => format!("the export was cut off: {cause}; {consequence}"),
            Self::Write(error) => format!("cannot write to {target}: {error}; {consequence}"),
        };
        (FAILED, message)
    }
}

async fn copy(
    mut response: Response,
    out: &mut impl Write,
    mut progress: Progress,
) -> Result<(), CopyError> {
    let cut = |error: reqwest::Error| CopyError::Read(cause(&error));
    while let Some(piece) = response.chunk().await.map_err(cut)? {
        out.write_all(&piece).map_err(CopyError::Write)?;
        progress.add(piece.len());
    }
    out.flush().map_err(CopyError::Write)
}

/// Says on standard error how much has come. The line is ended when it is dropped.
struct Progress {
    is_seen: bool,
    bytes: u64,
    shown_at: Option<Instant>,
}

impl Progress {
    const fn new(is_seen: bool) -> Self {
        Self {
            is_seen,
            bytes: 0,
            shown_at: None,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= SHOWN_EVERY);
        if self.is_seen && is_due {
            self.shown_at = Some(Instant::now());
            self.show("");
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
    fn show(&self, end: &str) {
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        // Progress that cannot be shown is no failure of the export.
        let _ = write!(io::stderr(), "\r{mebibytes:.1} MiB{end}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_seen {
            self.show("\n");
        }
    }
}
