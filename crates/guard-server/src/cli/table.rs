//! Tables that the commands print.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{FAILED, Outcome, failed_with, terminal};
use crate::visible::visible;

/// The space between two columns.
const GAP: usize = 2;
/// The least width to which a column is cut.
const LEAST_WIDTH: usize = 8;

/// A table with headings, for people and programs.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    is_right: [bool; N],
    may_be_cut: [bool; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [&str; N]) -> Self {
        let rows = vec![headings.map(|heading| visible(heading).into_owned())];
        Self {
            rows,
            is_right: [false; N],
            may_be_cut: [false; N],
        }
    }

    /// Aligns columns to the right, as numbers are.
    pub(super) fn right<const M: usize>(mut self, columns: [usize; M]) -> Self {
        for column in columns {
            self.is_right[column] = true;
        }
        self
    }

    /// Cuts the cells of columns where a terminal is too narrow for a row.
    pub(super) fn cutting<const M: usize>(mut self, columns: [usize; M]) -> Self {
        for column in columns {
            self.may_be_cut[column] = true;
        }
        self
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
            print(self.aligned(terminal::width()))
        } else {
            print(self.rows.into_iter().map(|row| row.join("\t")))
        }
    }

    /// The rows with columns of equal width, as far as possible within `room` characters.
    fn aligned(&self, room: usize) -> impl Iterator<Item = String> {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: [usize; N] = self.fitting(std::array::from_fn(width), room);
        self.rows.iter().map(move |row| {
            let cells = row.iter().zip(widths).zip(self.is_right);
            let cells = cells.map(|((cell, width), is_right)| {
                let cell = shortened(cell, width);
                if is_right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:width$}")
                }
            });
            let gap = " ".repeat(GAP);
            cells.collect::<Vec<_>>().join(&gap).trim_end().to_owned()
        })
    }

    /// Takes from the widest columns that may be cut until all fit.
    fn fitting(&self, mut widths: [usize; N], room: usize) -> [usize; N] {
        let room = room.saturating_sub(GAP * N.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let cut = widths.iter_mut().zip(self.may_be_cut);
            let cut = cut.filter_map(|(width, may_be_cut)| may_be_cut.then_some(width));
            let Some(widest) = cut.max().filter(|width| **width > LEAST_WIDTH) else {
                break;
            };
            *widest -= 1;
        }
        widths
    }
}

/// The text, or its beginning with an ellipsis.
pub(super) fn shortened(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let kept = text.chars().take(width.saturating_sub(1));
    Cow::Owned(kept.chain(['…']).collect())
}

/// A time in whole seconds, as all tables show it.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// The same in a zone: in UTC with a `Z`, elsewhere with the offset.
pub(super) fn time_in(at: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC {
        return time(at);
    }
    let offset = zone.to_offset(at);
    format!("{:.0}", at.display_with_offset(offset))
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
        let lines: Vec<_> = table.aligned(usize::MAX).collect();
        let expected = [
            "OPERATION      AUTHOR",
            "ban 192.0.2.7",
            "é              ann",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn columns_that_may_be_cut_give_way_where_room_is_short() {
        let rows = [["2026-11-30T12:00:00Z", "a rather long reason", "12"]];
        let table = Table::new(["TIME", "REASON", "COUNT"])
            .with(rows.into_iter().map(|row| row.map(str::to_owned)))
            .right([2])
            .cutting([1]);
        let lines: Vec<_> = table.aligned(40).collect();
        let expected = [
            "TIME                  REASON       COUNT",
            "2026-11-30T12:00:00Z  a rather l…     12",
        ];
        assert_eq!(lines, expected);
        assert_eq!(table.fitting([20, 20, 5], 10), [20, LEAST_WIDTH, 5]);
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
