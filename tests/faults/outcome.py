"""The result of a fault: accepted records compared with stored records."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.guard_server import GuardServer

from faults.death import Death

TITLES = ("fault", "accepted", "delivered", "duplicated", "lost", "window")


@dataclass
class Outcome:
    """A row of the table.

    Attributes:
        delivered: Delivered records; for a disk fault, also those found on disk again.
        lost: Lost outside the documented window.
    """

    fault: str
    accepted: int
    delivered: int
    duplicated: int
    lost: int
    window: str
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.accepted > 0 and self.duplicated == 0 and self.lost == 0


def written(path: Path) -> dict[str, int]:
    """The keys in a sender's record, with the time when each was accepted."""
    # A killed sender may leave an incomplete line.
    lines = [line.split() for line in path.read_text().split("\n")[:-1]]
    return {key: int(at) for at, key in lines}


class Accepted:
    """The records that senders wrote down, except those that the window may have lost.

    A record's age is the time from its acceptance to the kill, minus the time in which the saving
    or the sending thread was ready to run but had no processor.
    """

    def __init__(self, window_ms: float = 0) -> None:
        self._window = window_ms * 1e6
        self._lives: list[tuple[Path, Death | None]] = []

    def add(self, record: Path, death: Death | None = None) -> None:
        self._lives.append((record, death))

    def compare(self, fault: str, window: str, server: GuardServer) -> Outcome:
        """Compares the keys with all records that the server has stored."""
        events = [event for event in server.records("events") if "own_key" in event["metadata"]]
        stored = Counter(event["metadata"]["own_key"] for event in events)
        other = [e for e in events if e["idempotency_key"] != e["metadata"]["own_key"]]
        records = list(self._records())
        missing = [(age, starved) for key, age, starved in records if key not in stored]
        outcome = Outcome(
            fault,
            accepted=len(records),
            delivered=len(records) - len(missing),
            duplicated=sum(stored.values()) - len(stored) + len(other),
            lost=sum(age > self._window + starved for age, starved in missing),
            window=window,
        )
        if missing:
            excused = sum(age > self._window for age, _ in missing) - outcome.lost
            oldest, starved = max(missing)
            outcome.notes.append(
                f"{len(missing)} missing, the oldest of them {oldest / 1e6:.1f} ms old, of which "
                f"its threads had no processor for {starved / 1e6:.1f} ms; {excused} "
                "older than the window for lack of a processor alone"
            )
        resent = server.summary()["duplicates"]["events"]
        outcome.notes.append(f"{resent} sent again and recognized by the store")
        return outcome

    def _records(self) -> Iterator[tuple[str, float, int]]:
        """Each record's key, its age when its process was killed, and the starved part of it."""
        for path, death in self._lives:
            for key, at in written(path).items():
                if death:
                    yield key, death.at - at, death.starved_since(at)
                else:
                    yield key, math.inf, 0
