"""Compares the records that the agents accepted with those the server stored."""

from collections import Counter
from pathlib import Path

from support.guard_server import GuardServer


class Accepted:
    """A file where each program writes a line for each of its senders: its name, and how many
    records, numbered from 0, the agent accepted of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def senders(self) -> dict[str, int]:
        lines = [line.split() for line in self.path.read_text().splitlines()]
        senders = {name: int(count) for name, count in lines}
        assert len(senders) == len(lines), "a sender told twice what was accepted"
        return senders

    def ids(self) -> set[str]:
        return {f"{name}:{n}" for name, count in self.senders().items() for n in range(count)}

    def assert_stored_once(self, server: GuardServer) -> None:
        """Checks that every accepted record is stored under its own key and was sent once.

        The server may store more: records accepted while the program ended, after its last report.
        """
        ids = self.ids()
        assert ids, "nothing was accepted"
        metrics = server.records("metrics")
        stored = Counter(metric["tags"]["id"] for metric in metrics)
        missing = sorted(ids - stored.keys())
        assert not missing, f"{len(missing)} of {len(ids)} are missing, such as {missing[:5]}"
        assert stored.most_common(1)[0][1] == 1, f"stored twice: {stored.most_common(1)}"
        assert len({metric["idempotency_key"] for metric in metrics}) == len(metrics)
        assert server.summary()["duplicates"]["metrics"] == 0
