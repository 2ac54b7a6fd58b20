"""The results as a Markdown table."""

from collections.abc import Sequence
from statistics import median

from harness.comparison import Comparison

HEADER = ("case", "peer", "theirs", "ours", "ours is ahead", "spread")


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == float("inf"):
        return "∞"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """The smallest and the largest value."""
    return f"{figure(min(values))}..{figure(max(values))}"


def row(comparison: Comparison) -> tuple[str, ...]:
    ratios = comparison.ratios()
    return (
        comparison.case,
        comparison.peer_name,
        f"{figure(median(comparison.peer))} {comparison.unit}",
        f"{figure(median(comparison.ours))} {comparison.unit}",
        f"{figure(comparison.ahead())} x",
        spread(ratios),
    )


def markdown(comparisons: Sequence[Comparison]) -> str:
    """A table whose columns are also aligned as plain text."""
    rows = [HEADER, *map(row, comparisons)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADER))]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
