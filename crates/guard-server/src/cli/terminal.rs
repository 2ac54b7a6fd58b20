//! What the terminal can do.

use std::env;
use std::io::IsTerminal as _;

use rustix::termios::tcgetwinsize;

/// The width where there is no terminal, and `COLUMNS` says nothing.
const USUAL_WIDTH: usize = 80;
/// The least width that output is made for.
const LEAST_WIDTH: usize = 40;

/// How many characters a line of standard output has. `COLUMNS` wins.
pub(super) fn width() -> usize {
    let given = env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    let of_terminal = || {
        let size = tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    };
    let width = given.or_else(of_terminal).unwrap_or(USUAL_WIDTH);
    width.max(LEAST_WIDTH)
}

/// Whether standard output shows colours: it is a terminal, and `NO_COLOR` is not set.
pub(super) fn has_colours() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
