import pytest

from harness.comparison import Comparison


def comparison(better: str, peer: list[float], ours: list[float]) -> Comparison:
    return Comparison("case", "us", better, "peer", peer, ours)  # type: ignore[arg-type]


def test_a_lower_cost_is_ahead() -> None:
    assert comparison("lower", [10.0], [2.0]).ahead() == 5.0


def test_a_higher_rate_is_ahead() -> None:
    assert comparison("higher", [10.0], [20.0]).ahead() == 2.0


def test_being_behind_is_below_one() -> None:
    assert comparison("lower", [1.0], [2.0]).ahead() == 0.5
    assert comparison("higher", [2.0], [1.0]).ahead() == 0.5


def test_each_round_is_paired_before_the_median_is_taken() -> None:
    # The machine is ten times slower in the second round, for both alike.
    drifting = comparison("lower", [2.0, 20.0, 2.0], [1.0, 10.0, 0.5])
    assert drifting.ratios() == [2.0, 2.0, 4.0]
    assert drifting.ahead() == 2.0


def test_a_peer_that_delivers_nothing_is_infinitely_behind() -> None:
    assert comparison("higher", [0.0], [100.0]).ahead() == float("inf")


def test_two_that_deliver_nothing_are_level() -> None:
    assert comparison("higher", [0.0], [0.0]).ahead() == 1.0


@pytest.mark.parametrize(("peer", "ours"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_rounds_without_a_pair_are_refused(peer: list[float], ours: list[float]) -> None:
    with pytest.raises(
        ValueError, match=f"case: {len(peer)} values of the peer and {len(ours)} of ours"
    ):
        comparison("lower", peer, ours)
