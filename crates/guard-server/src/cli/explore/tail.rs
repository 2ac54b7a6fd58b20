//! `guard-server tail`: events as they arrive.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use reqwest::{Method, Response};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::super::client::Client;
use super::super::table::shortened;
use super::super::{FAILED, Outcome, failed_with, terminal};
use super::TailArgs;
use super::frames::{Frame, Frames};
use super::query::Item;
use crate::visible::{visible, visible_json};

/// The pause before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// A connection is lost if nothing comes for so long. Heartbeats come every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

#[derive(Deserialize)]
struct Gap {
    missed: u64,
}

/// Runs `guard-server tail`, until the reader of its output is gone.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn tail(args: &TailArgs) -> Outcome<()> {
    let client = Client::new(&args.server)?;
    let filter = args.filter.iter().map(|filter| ("filter", filter));
    let filter: Vec<_> = filter.collect();
    let request = |position: &str| {
        let request = client.in_project(Method::GET, &["events", "tail"]);
        let request = request.query(&filter);
        if position.is_empty() {
            request
        } else {
            request.header("Last-Event-ID", position)
        }
    };
    let mut position = String::new();
    let mut response = client.open(request(&position)).await?;
    loop {
        if follow(response, args, &mut position).await? == Ending::OutputGone {
            return Ok(());
        }
        eprintln!("the connection was cut; going on after the last event");
        response = loop {
            sleep(RETRY).await;
            if let Some(response) = client.open_again(request(&position)).await? {
                break response;
            }
        };
    }
}

/// Why a stream ended.
#[derive(PartialEq, Eq)]
enum Ending {
    Cut,
    /// Nobody reads what this prints.
    OutputGone,
}

/// Prints what comes. Keeps the position of the last event.
async fn follow(mut response: Response, args: &TailArgs, position: &mut String) -> Outcome<Ending> {
    let mut frames = Frames::default();
    while let Ok(Ok(Some(piece))) = timeout(SILENCE, response.chunk()).await {
        for Frame { event, id, data } in frames.feed(&piece) {
            let line = match event.as_str() {
                "record" if args.json => visible_json(&data).into_owned(),
                "record" => line(&data, args)?,
                "gap" if args.json => data,
                "gap" => {
                    let Gap { missed } = read(&data)?;
                    format!("-- {missed} events are missing here: they came too fast --")
                }
                _ => continue,
            };
            match writeln!(io::stdout(), "{line}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Ok(Ending::OutputGone);
                }
                written => written.map_err(failed_with(FAILED))?,
            }
            if !id.is_empty() {
                *position = id;
            }
        }
    }
    Ok(Ending::Cut)
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Outcome<T> {
    serde_json::from_str(data).map_err(|error| {
        let message =
            format!("the server does not answer as this version of guard-server does: {error}");
        (FAILED, message)
    })
}

/// An event on one line, cut to the width of a terminal.
fn line(data: &str, args: &TailArgs) -> Outcome<String> {
    let item: Item = read(data)?;
    let mut cells = vec![item.time(&args.tz)];
    let names = [
        "event_type",
        "ip_address",
        "country",
        "action_taken",
        "method",
        "endpoint",
        "status_code",
        "reason",
    ];
    cells.extend(names.map(|name| visible(&item.cell(name)).into_owned()));
    if !io::stdout().is_terminal() {
        return Ok(cells.join("\t"));
    }
    cells.retain(|cell| !cell.is_empty());
    let line = cells.join("  ");
    Ok(shortened(&line, terminal::width()).into_owned())
}
