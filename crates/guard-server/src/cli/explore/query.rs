//! `guard-server query`: a list of events.

use std::io::{self, IsTerminal as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::client::Client;
use super::super::table::{Table, print, time_in};
use super::super::{FAILED, Outcome, failed_with, terminal};
use super::QueryArgs;
use crate::visible::visible_json;

/// The most events that the server puts on a page.
const PAGE: u32 = 1000;
/// A terminal of this width has room for all columns.
const WIDE: usize = 120;

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// An event, as the API returns it.
#[derive(Deserialize)]
pub(super) struct Item {
    received_at: Timestamp,
    event: Value,
}

impl Item {
    /// When it happened.
    pub(super) fn time(&self, zone: &TimeZone) -> String {
        let at = self.event["timestamp"].as_str();
        let at = at.and_then(|at| at.parse().ok());
        time_in(at.unwrap_or(self.received_at), zone)
    }

    /// A field as text. Empty if it is missing.
    pub(super) fn cell(&self, name: &str) -> String {
        match &self.event[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Runs `guard-server query`.
///
/// # Errors
///
/// The exit code, and a message that says why it failed.
pub async fn query(args: &QueryArgs) -> Outcome<()> {
    let client = Client::new(&args.server)?;
    let (mut rows, mut left, mut cursor) = (Vec::new(), args.limit, None);
    loop {
        let mut params = args.selection.params();
        params.push(("limit", left.min(PAGE).to_string()));
        params.extend(cursor.map(|cursor| ("cursor", cursor)));
        let request = client.in_project(Method::GET, &["events"]).query(&params);
        let page: Page = client.json(request).await?;
        let count = u32::try_from(page.items.len()).unwrap_or(u32::MAX);
        left = left.saturating_sub(count);
        if args.json {
            let lines = page
                .items
                .iter()
                .map(|item| visible_json(item.get()).into_owned());
            print(lines)?;
        } else {
            for item in &page.items {
                let item = serde_json::from_str(item.get());
                rows.push(item.map_err(failed_with(FAILED))?);
            }
        }
        cursor = page.next;
        if cursor.is_none() || left == 0 {
            break;
        }
    }
    if args.json {
        return Ok(());
    }
    show(&rows, args)?;
    if cursor.is_some() {
        eprintln!("these are the newest {}; --limit shows more", args.limit);
    }
    Ok(())
}

fn show(items: &[Item], args: &QueryArgs) -> Outcome<()> {
    const NONE: &str = "no events match in this range";
    if io::stdout().is_terminal() && terminal::width() < WIDE {
        let rows = items.iter().map(|item| {
            let [kind, address] = ["event_type", "ip_address"].map(|name| item.cell(name));
            let [endpoint, reason] = ["endpoint", "reason"].map(|name| item.cell(name));
            [item.time(&args.tz), kind, address, endpoint, reason]
        });
        return Table::new(["TIME", "TYPE", "ADDRESS", "ENDPOINT", "REASON"])
            .with(rows)
            .cutting([1, 3, 4])
            .print(NONE);
    }
    let rows = items.iter().map(|item| {
        let [kind, address, country] =
            ["event_type", "ip_address", "country"].map(|name| item.cell(name));
        let [action, method, endpoint] =
            ["action_taken", "method", "endpoint"].map(|name| item.cell(name));
        let [status, reason] = ["status_code", "reason"].map(|name| item.cell(name));
        [
            item.time(&args.tz),
            kind,
            address,
            country,
            action,
            method,
            endpoint,
            status,
            reason,
        ]
    });
    Table::new([
        "TIME", "TYPE", "ADDRESS", "COUNTRY", "ACTION", "METHOD", "ENDPOINT", "STATUS", "REASON",
    ])
    .with(rows)
    .cutting([1, 6, 8])
    .print(NONE)
}
