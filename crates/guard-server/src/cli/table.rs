//! Tables that the commands print.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use jiff::Timestamp;

use super::{FAILED, Outcome, failed_with};
use crate::visible::visible;

/// A table with headings, for people and programs.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [&str; N]) -> Self {
        let rows = vec![headings.map(str::to_owned)];
        Self { rows }
    }

    /// Adds rows. The text of a cell can neither look like another cell nor control the terminal.
    pub(super) fn with(mut self, rows: impl Iterator<Item = [String; N]>) -> Self {
        let rows = rows.map(|row| row.map(|cell| visible(&cell).into_owned()));
        self.rows.extend(rows);
        self
    }

    /// Prints the table: aligned on a terminal, else with a tab between cells. If it has no rows,
    /// it prints `none` on standard error instead.
    pub(super) fn print(self, none: &str) -> Outcome<()> {
        if self.rows.len() == 1 {
            eprintln!("{none}");
            return Ok(());
        }
        if std::io::stdout().is_terminal() {
            print(self.aligned())
        } else {
            print(self.rows.into_iter().map(|row| row.join("\t")))
        }
    }

    fn aligned(&self) -> impl Iterator<Item = String> {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: [usize; N] = std::array::from_fn(width);
        self.rows.iter().map(move |row| {
            let cells = row.iter().zip(widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
    }
}

/// A time in whole seconds, as all tables show it.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Prints lines. It is not an error if the reader stops early, as `head` does.
pub(super) fn print(lines: impl Iterator<Item = String>) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.map_err(failed_with(FAILED))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["ban 192.0.2.7", ""], ["é", "ann"]];
        let table = Table::new(["OPERATION", "AUTHOR"])
            .with(rows.into_iter().map(|row| row.map(str::to_owned)));
        let lines: Vec<_> = table.aligned().collect();
        let expected = [
            "OPERATION      AUTHOR",
            "ban 192.0.2.7",
            "é              ann",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_cell_cannot_imitate_another() {
        let rows = [["a\tb".to_owned(), "\u{1b}[2J".to_owned()]];
        let table = Table::new(["ONE", "TWO"]).with(rows.into_iter());
        assert_eq!(table.rows[1], ["a\\tb", "\\u{1b}[2J"]);
    }

    #[test]
    fn a_time_has_whole_seconds() {
        let at = "2026-11-22T14:28:58.123456789Z".parse().unwrap();
        assert_eq!(time(at), "2026-11-22T14:28:58Z");
    }
}
