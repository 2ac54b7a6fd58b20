import pytest

from harness.comparison import Comparison
from harness.table import figure, markdown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.00"),
        (0.526, "0.53"),
        (5.6, "5.60"),
        (20.04, "20.0"),
        (261.4, "261"),
        (1474.29, "1,474"),
        (float("inf"), "∞"),
    ],
)
def test_figures_keep_three_digits(value: float, written: str) -> None:
    assert figure(value) == written


def test_a_row_tells_medians_ratio_and_spread() -> None:
    send = Comparison("send", "us", "lower", "guard-agent", [20.0, 30.0, 10.0], [5.0, 5.0, 5.0])
    assert markdown([send]).splitlines() == [
        "| case | peer        | theirs  | ours    | ours is ahead | spread     |",
        "|------|-------------|---------|---------|---------------|------------|",
        "| send | guard-agent | 20.0 us | 5.00 us | 4.00 x        | 2.00..6.00 |",
    ]
