use super::*;

/// A chart of hours from noon on.
fn chart(lines: &[(&str, &[f64])], is_stacked: bool) -> Chart {
    let count = lines[0].1.len();
    let noon: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
    let hours = (0..i64::try_from(count).unwrap()).map(|n| noon.as_second() + n * 3600);
    let line = |(name, values): &(&str, &[f64])| Line {
        name: (*name).to_owned(),
        values: values
            .iter()
            .map(|value| (!value.is_nan()).then_some(*value))
            .collect(),
        summary: "7".to_owned(),
    };
    Chart {
        starts: hours
            .map(|at| Timestamp::from_second(at).unwrap())
            .collect(),
        zone: TimeZone::UTC,
        lines: lines.iter().map(line).collect(),
        is_stacked,
        summary: "TOTAL",
    }
}

fn drawn(chart: &Chart, width: usize) -> Vec<String> {
    chart.draw(width, false).collect()
}

#[test]
fn bars_have_axes_with_labels_and_a_row_for_each_line() {
    let hours: Vec<f64> = (0..24).map(f64::from).collect();
    let chart = chart(&[("rising", &hours), ("one", &[1.0; 24])], true);
    let text = drawn(&chart, 44);
    assert_eq!(text.len(), HEIGHT + 5, "{text:#?}");
    assert_eq!(text[0].trim_end(), "      30 ┤");
    assert!(text[5].starts_with("      15 ┤"), "{text:#?}");
    assert!(text[HEIGHT].starts_with("       0 ┼┬──"), "{text:#?}");
    assert!(text[HEIGHT + 1].contains("12:00"), "{text:#?}");
    assert!(text[HEIGHT + 2].ends_with("TOTAL"), "{text:#?}");
    assert!(text[HEIGHT + 3].starts_with("■ rising "), "{text:#?}");
    assert!(text[HEIGHT + 4].starts_with("■ one    "), "{text:#?}");
}

#[test]
fn every_line_fits_the_terminal() {
    for width in [40, 60, 80, 120, 160, 300] {
        for count in [1, 2, 7, columns(width, true)] {
            let values = vec![123_456.0; count];
            let long = "a name that is longer than the room for names";
            let chart = chart(&[(long, &values), ("b", &values)], true);
            for line in drawn(&chart, width) {
                assert!(line.chars().count() <= width, "{width} {count}: {line}");
            }
        }
    }
}

#[test]
fn what_is_there_is_seen_however_small() {
    let chart = chart(&[("", &[1_000_000.0, 1.0, 0.0])], true);
    let text = drawn(&chart, 80);
    let lowest: Vec<char> = text[HEIGHT - 1].chars().collect();
    let bar = |at: usize| lowest.get(9 + at * MAX_BAR).copied().unwrap_or(' ');
    assert_eq!([bar(0), bar(1), bar(2)], ['█', '▁', ' '], "{text:#?}");
}

#[test]
fn a_missing_value_is_a_gap_and_a_zero_is_not() {
    let chart = chart(&[("a", &[0.2, f64::NAN, 0.0]), ("b", &[0.1; 3])], false);
    let text = drawn(&chart, 80);
    assert!(
        text[1].starts_with("■ a"),
        "values that do not add up have rows only: {text:#?}"
    );
    let row: Vec<char> = text[1].chars().collect();
    let bar = |at: usize| row[9 + at * MAX_BAR];
    assert_eq!([bar(0), bar(1), bar(2)], ['█', ' ', '▁'], "{text:#?}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let chart = chart(&[("a", &[1.0, 5.0]), ("b", &[2.0, 0.0])], true);
    let coloured: Vec<_> = chart.draw(80, true).collect();
    assert!(coloured.iter().any(|line| line.contains("\u{1b}[36m")));
    let strip = |line: &String| {
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
        let text = first + &rest.collect::<String>();
        text.trim_end().to_owned()
    };
    let stripped: Vec<_> = coloured.iter().map(strip).collect();
    assert_eq!(stripped, drawn(&chart, 80));
}

#[test]
fn ticks_are_where_a_clock_on_the_wall_has_round_times() {
    let mut chart = chart(&[("", &[1.0; 48])], true);
    chart.zone = TimeZone::get("Asia/Kolkata").unwrap();
    let ticks = Ticks::new(&chart.starts, &chart.zone, 1);
    let ticks = ticks.all(&chart.starts, &chart.zone);
    // The first bar begins at 17:30 there; bars cannot begin at whole hours.
    assert_eq!(ticks[0], (7, "00:30".to_owned()));
    let quarter = |n: i64| Timestamp::from_second(n * 900).unwrap();
    let starts: Vec<_> = (1..60).map(quarter).collect();
    let ticks = Ticks::new(&starts, &TimeZone::UTC, 1).all(&starts, &TimeZone::UTC);
    let labels: Vec<_> = ticks
        .iter()
        .map(|(at, label)| (*at, label.as_str()))
        .collect();
    assert_eq!(labels[..2], [(11, "03:00"), (23, "06:00")]);
}

#[test]
fn a_scale_is_easy_to_halve() {
    for (most, scale) in [
        (0.0, 1.0),
        (1.0, 1.0),
        (1.5, 2.0),
        (3.0, 3.0),
        (6.5, 8.0),
        (41.0, 50.0),
        (61.0, 80.0),
        (0.034, 0.04),
    ] {
        assert!(
            (round_up(most) - scale).abs() < 1e-9,
            "{most}: {}",
            round_up(most)
        );
    }
}

#[test]
fn numbers_are_short() {
    for (value, expected) in [
        (0.0, "0"),
        (12.0, "12"),
        (99_999.0, "99999"),
        (123_456.0, "123k"),
        (1_234_567.0, "1.23M"),
        (0.25, "0.25"),
        (0.034_567, "0.0346"),
        (12.345, "12.3"),
        (-3.5, "-3.5"),
    ] {
        assert_eq!(number(value), expected);
    }
}
