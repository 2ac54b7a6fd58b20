"""One row of the results: a peer and ours, measured in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Comparison:
    """The values of a peer and of ours, one of each for every round."""

    case: str
    unit: str
    better: Literal["lower", "higher"]
    peer_name: str
    peer: Sequence[float]
    ours: Sequence[float]

    def __post_init__(self) -> None:
        if not self.peer or len(self.peer) != len(self.ours):
            raise ValueError(
                f"{self.case}: {len(self.peer)} values of the peer and {len(self.ours)} of ours; "
                "a comparison needs one of each for every round, and at least one round"
            )

    def ratios(self) -> list[float]:
        """How many times ours is ahead, round by round; below 1 it is behind."""
        pairs = zip(self.peer, self.ours, strict=True)
        if self.better == "lower":
            return [ratio(peer, ours) for peer, ours in pairs]
        return [ratio(ours, peer) for peer, ours in pairs]

    def ahead(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios())


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; of two zeros 1, of anything else and zero infinity."""
    if denominator == 0:
        return 1.0 if numerator == 0 else float("inf")
    return numerator / denominator
