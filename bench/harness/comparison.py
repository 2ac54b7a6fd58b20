"""One row of the results: a peer and ours, measured alternately."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Comparison:
    """The values of a peer and of ours, one of each per round."""

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
        """The factor by which ours is better in each round; below 1 ours is worse."""
        pairs = zip(self.peer, self.ours, strict=True)
        if self.better == "lower":
            return [ratio(peer, ours) for peer, ours in pairs]
        return [ratio(ours, peer) for peer, ours in pairs]

    def ahead(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios())


def ratio(numerator: float, denominator: float) -> float:
    """The quotient. Zero by zero is 1; anything else by zero is infinity."""
    if denominator == 0:
        return 1.0 if numerator == 0 else float("inf")
    return numerator / denominator
