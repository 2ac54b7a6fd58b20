//! A chart of bars over time, made of characters. Below it, each line has a row of its own over the
//! same time axis, so that it can be told without colours too.
//!
//! ```text
//!                 20 ┤    ▅
//!                    │  ▂ █
//!                 10 ┤ ▄███▂
//!                    │ █████
//!                  0 ┼─┬────┬───
//!                      14:00
//! ■ rate_limited       ▁▃█▄ ▁    42
//! ■ (other)            ▂▁▃█▂     17
//! ```

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::super::table::shortened;

/// The rows of the bars.
const HEIGHT: usize = 10;
/// The parts of a row that a block can fill.
const EIGHTHS: usize = 8;
const BLOCKS: [char; EIGHTHS + 1] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The widest bar.
const MAX_BAR: usize = 6;
/// The least room for labels of the axis.
const LABEL: usize = 7;
/// The characters of a summary, with the space before it.
const SUMMARY: usize = 7;
/// What stands between the names and the bars.
const AXIS: usize = 2;
/// The mark in front of a name.
const MARK: &str = "■ ";
/// Foreground colours of a terminal, whose theme decides what they look like.
const COLOURS: [u8; 12] = [36, 33, 35, 32, 34, 31, 96, 93, 95, 92, 94, 91];
/// The colour of the last line if there are more than colours.
const NO_COLOUR: u8 = 37;

/// How many bars fit a terminal of this width, whatever names the lines have.
pub(super) fn columns(width: usize, has_names: bool) -> usize {
    let gutter = if has_names { names(width) + 2 } else { LABEL };
    let summary = if has_names { SUMMARY } else { 0 };
    width.saturating_sub(gutter + AXIS + summary)
}

/// The room for names. A wide terminal has more.
fn names(width: usize) -> usize {
    let more = width.saturating_sub(80) / 4;
    (19 + more).min(40).min(width / 3)
}

/// A line of the chart.
pub(super) struct Line {
    pub(super) name: String,
    /// One value for each bucket, or nothing.
    pub(super) values: Vec<Option<f64>>,
    /// What stands at the end of its row.
    pub(super) summary: String,
}

/// Values over time.
pub(super) struct Chart {
    pub(super) starts: Vec<Timestamp>,
    pub(super) zone: TimeZone,
    pub(super) lines: Vec<Line>,
    /// Whether the lines add up to the height of the bars. If not, and there are several, there are
    /// rows only.
    pub(super) is_stacked: bool,
    /// The heading of the summaries.
    pub(super) summary: &'static str,
}

impl Chart {
    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        let mut values = self
            .lines
            .iter()
            .flat_map(|line| line.values.iter().flatten());
        !values.any(|value| !self.is_stacked || *value != 0.0)
    }

    /// The lines of text.
    pub(super) fn draw(&self, width: usize, has_colours: bool) -> impl Iterator<Item = String> {
        let layout = Layout::new(self, width);
        let mut text = Vec::new();
        let has_bars = self.is_stacked || self.lines.len() == 1;
        if has_bars {
            text.extend(self.bars(&layout, has_colours));
        }
        let rows = self.rows(&layout, has_colours);
        let axis = self.axis(&layout, has_bars);
        if has_bars {
            text.extend(axis);
            text.extend(rows);
        } else {
            text.extend(rows);
            text.extend(axis);
        }
        text.into_iter().map(|line| line.trim_end().to_owned())
    }

    /// The bars with the labels of their heights.
    fn bars(&self, layout: &Layout, has_colours: bool) -> Vec<String> {
        let tops: Vec<f64> = (0..self.starts.len()).map(|at| self.top(at)).collect();
        let most = tops.iter().copied().fold(0.0, f64::max);
        let scale = round_up(most);
        let heights: Vec<usize> = (0..tops.len())
            .map(|at| self.height(at, tops[at], scale))
            .collect();
        let row = |row: usize| {
            let below = row * EIGHTHS;
            let cells = heights.iter().enumerate().map(|(at, height)| {
                let filled = height.saturating_sub(below).min(EIGHTHS);
                let bar = layout.bar(BLOCKS[filled]);
                if has_colours && filled > 0 {
                    let middle = below as f64 + filled as f64 / 2.0;
                    let colour = self.colour_at(at, middle / (HEIGHT * EIGHTHS) as f64 * scale);
                    coloured(&bar, colour)
                } else {
                    bar
                }
            });
            let cells: String = cells.collect();
            let (label, sign) = match row + 1 {
                HEIGHT => (number(scale), '┤'),
                half if half * 2 == HEIGHT => (number(scale / 2.0), '┤'),
                _ => (String::new(), '│'),
            };
            format!("{label:>gutter$} {sign}{cells}", gutter = layout.gutter)
        };
        (0..HEIGHT).rev().map(row).collect()
    }

    /// The height of a bar in value.
    fn top(&self, at: usize) -> f64 {
        let values = self.lines.iter().filter_map(|line| line.values[at]);
        values.map(|value| value.max(0.0)).sum()
    }

    /// The height of a bar in eighths of rows. What is there is seen, however small.
    fn height(&self, at: usize, top: f64, scale: f64) -> usize {
        let is_there = self.lines.iter().any(|line| line.values[at].is_some());
        let is_there = is_there && (top > 0.0 || !self.is_stacked);
        share(top / scale, HEIGHT * EIGHTHS).max(usize::from(is_there))
    }

    /// The colour of the line that reaches over a value of a bar.
    fn colour_at(&self, at: usize, value: f64) -> u8 {
        let mut below = 0.0;
        for (index, line) in self.lines.iter().enumerate() {
            below += line.values[at].unwrap_or(0.0).max(0.0);
            if below >= value {
                return colour(index);
            }
        }
        colour(self.lines.len().saturating_sub(1))
    }

    /// A row for each line, scaled to its own largest value. One line needs none.
    fn rows(&self, layout: &Layout, has_colours: bool) -> Vec<String> {
        let is_alone = self.lines.len() == 1 && self.lines[0].name.is_empty();
        let bars = layout.bar_width * self.starts.len();
        let heading = format!(
            "{:bars$}{:>SUMMARY$}",
            "",
            self.summary,
            bars = layout.gutter + AXIS + bars
        );
        let row = |(index, line): (usize, &Line)| {
            let most = line.values.iter().flatten().copied().fold(0.0, f64::max);
            let cells = line.values.iter().map(|value| {
                let height = value.map_or(0, |value| {
                    let is_seen = value > 0.0 || !self.is_stacked;
                    share(value / most, EIGHTHS).max(usize::from(is_seen))
                });
                layout.bar(BLOCKS[height])
            });
            let (mut cells, mut mark) = (cells.collect::<String>(), MARK.to_owned());
            if has_colours {
                cells = coloured(&cells, colour(index));
                mark = coloured(MARK, colour(index));
            }
            let name = shortened(&line.name, layout.gutter - 2);
            format!(
                "{mark}{name:name_width$}{:AXIS$}{cells}{:>SUMMARY$}",
                "",
                line.summary,
                name_width = layout.gutter - 2
            )
        };
        if is_alone {
            let summary = format!("{} {}", self.summary.to_lowercase(), self.lines[0].summary);
            return vec![format!(
                "{summary:>width$}",
                width = layout.gutter + AXIS + bars
            )];
        }
        let rows = self.lines.iter().enumerate().map(row);
        std::iter::once(heading).chain(rows).collect()
    }

    /// The time axis: a line with ticks, and their labels.
    fn axis(&self, layout: &Layout, has_zero: bool) -> [String; 2] {
        let ticks = Ticks::new(&self.starts, &self.zone, layout.bar_width);
        let mut line = "─".repeat(layout.bar_width * self.starts.len());
        let mut labels = String::new();
        for (at, label) in ticks.all(&self.starts, &self.zone) {
            let column = at * layout.bar_width;
            let used = labels.chars().count();
            if column < used {
                continue;
            }
            labels.push_str(&" ".repeat(column - used));
            labels.push_str(&label);
            labels.push(' ');
            let characters = line.chars().enumerate();
            let ticked = characters.map(|(place, line)| if place == column { '┬' } else { line });
            line = ticked.collect();
        }
        let zero = if has_zero { "0" } else { "" };
        let corner = if has_zero { '┼' } else { '╶' };
        [
            format!("{zero:>gutter$} {corner}{line}", gutter = layout.gutter),
            format!("{:gutter$}{labels}", "", gutter = layout.gutter + AXIS),
        ]
    }
}

/// How the chart fits the terminal.
struct Layout {
    /// The characters before the axis: names and labels.
    gutter: usize,
    bar_width: usize,
}

impl Layout {
    fn new(chart: &Chart, width: usize) -> Self {
        let names = chart.lines.iter().map(|line| line.name.chars().count());
        let name = names.max().unwrap_or_default().min(self::names(width));
        let gutter = (name + 2).max(LABEL);
        let summary = if name > 0 { SUMMARY } else { 0 };
        let room = width.saturating_sub(gutter + AXIS + summary);
        let bar_width = (room / chart.starts.len().max(1)).clamp(1, MAX_BAR);
        Self { gutter, bar_width }
    }

    /// A part of a bar. Wide bars leave a space between them.
    fn bar(&self, block: char) -> String {
        let gap = usize::from(self.bar_width > 2);
        let bar = block.to_string().repeat(self.bar_width - gap);
        bar + &" ".repeat(gap)
    }
}

/// The times that the axis names.
struct Ticks {
    /// Seconds between them.
    step: i64,
    format: &'static str,
}

/// Steps that a reader expects, in seconds.
const STEPS: [i64; 15] = [
    1,
    10,
    30,
    60,
    300,
    600,
    1800,
    3600,
    3 * 3600,
    6 * 3600,
    12 * 3600,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
];
const DAY: i64 = 86_400;

impl Ticks {
    fn new(starts: &[Timestamp], zone: &TimeZone, bar_width: usize) -> Self {
        let [first, last] =
            [starts.first(), starts.last()].map(|at| at.copied().unwrap_or_default());
        let bars = i64::try_from(starts.len()).unwrap_or(i64::MAX);
        let interval = (last.as_second() - first.as_second()) / (bars - 1).max(1);
        let years = [first, last].map(|at| zone.to_datetime(at).year());
        let of = |step: i64| {
            if step >= DAY && years[0] != years[1] {
                "%Y-%m-%d"
            } else if step >= DAY {
                "%m-%d"
            } else if step < 60 {
                "%H:%M:%S"
            } else if last.as_second() - first.as_second() <= 2 * DAY {
                "%H:%M"
            } else {
                "%m-%d %H:%M"
            }
        };
        let needs = |format: &str| {
            let label = first.to_zoned(zone.clone()).strftime(format).to_string();
            let characters = label.chars().count() + 2;
            i64::try_from(characters.div_ceil(bar_width)).unwrap_or(i64::MAX) * interval
        };
        let step = STEPS.into_iter().find(|step| *step >= needs(of(*step)));
        let step = step.unwrap_or_else(|| (needs("%Y-%m-%d") / DAY + 1) * DAY);
        Self {
            step,
            format: of(step),
        }
    }

    /// Each tick: its bucket, and its label.
    fn all(&self, starts: &[Timestamp], zone: &TimeZone) -> Vec<(usize, String)> {
        let mut before = None;
        let mut ticks = Vec::new();
        for (at, start) in starts.iter().enumerate() {
            let local = zone.to_datetime(*start);
            let seconds = seconds(local);
            let step = seconds.div_euclid(self.step);
            // The first bucket may begin between two ticks.
            let is_tick = match before {
                None => seconds.rem_euclid(self.step) == 0,
                Some(before) => step != before,
            };
            if is_tick {
                let label = start.to_zoned(zone.clone()).strftime(self.format);
                ticks.push((at, label.to_string()));
            }
            before = Some(step);
        }
        ticks
    }
}

/// The seconds that a clock on the wall has counted since a Monday.
fn seconds(local: DateTime) -> i64 {
    let monday = jiff::civil::date(1970, 1, 5).at(0, 0, 0, 0);
    local.duration_since(monday).as_secs()
}

fn colour(line: usize) -> u8 {
    COLOURS.get(line).copied().unwrap_or(NO_COLOUR)
}

fn coloured(text: &str, colour: u8) -> String {
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// The part of `whole`, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "it is between 0 and the small number `whole`"
)]
fn share(part: f64, whole: usize) -> usize {
    if part.is_nan() {
        return 0;
    }
    (part.clamp(0.0, 1.0) * whole as f64).round() as usize
}

/// The next number that is easy to read and to halve.
fn round_up(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let nice = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].into_iter();
    let nice = nice.map(|factor| factor * power).find(|nice| *nice >= most);
    nice.unwrap_or(10.0 * power)
}

/// A number with up to four digits that matter, such as `12`, `0.034` or `1.2M`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let size = scaled.abs();
    let decimals: usize = match size {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests;
