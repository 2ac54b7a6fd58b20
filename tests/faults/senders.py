"""Processes that send a thousand events a second and write down the accepted ones."""

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from support.guard_server import API_KEY
from support.process import PATIENCE_SECONDS, eventually

from faults.death import Death, Life

PROGRAMS = Path(__file__).resolve().parent / "programs"
ENVIRONMENT = {**os.environ, "FAULTS_API_KEY": API_KEY, "PYTHONPATH": str(PROGRAMS)}
NOWHERE = "http://127.0.0.1:1"


@dataclass
class Spool:
    """The directory for the processes' spools.

    Attributes:
        path: The path inside the processes.
        seen: The path outside them.
        enter: The start of a command that sees the directory at `path`.
    """

    path: Path
    seen: Path
    enter: list[str] = field(default_factory=list)

    @classmethod
    def below(cls, folder: Path) -> "Spool":
        return cls(folder / "spool", folder / "spool")

    def directories(self) -> list[Path]:
        return [path for path in self.seen.iterdir() if path.is_dir()]


class Sender:
    """A process of `programs/sender.py` that writes its record to `record`."""

    def __init__(self, record: Path, place: Spool | str, endpoint: str, *rate: int) -> None:
        """The place may be the URL of a Redis; `rate` is COUNT and PER_SECOND of the program."""
        self.record = record
        self.log = record.with_suffix(".log")
        enter, name = (place.enter, place.path) if isinstance(place, Spool) else ([], place)
        arguments: list[str | Path] = [PROGRAMS / "sender.py", record, name, endpoint]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [*enter, sys.executable, *arguments, *map(str, rate)],
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.life = Life(self.child)

    def wait_for_first(self) -> None:
        """Waits until the first event is accepted."""
        eventually(lambda: has_sent(self.record))

    def said(self, words: str) -> bool:
        return words in self.output()

    def output(self) -> str:
        return self.log.read_text()

    def finish(self) -> None:
        """Ends the process normally; no event may be dropped."""
        printed, _ = self.child.communicate(timeout=PATIENCE_SECONDS)
        assert self.child.returncode == 0, self.output()
        assert_balanced(printed)

    def kill(self) -> Death:
        """Kills the process while it works."""
        assert self.child.poll() is None, self.output()
        return self.life.kill()

    def close(self) -> None:
        self.life.close()
        if self.child.poll() is None:
            self.child.kill()
            self.child.communicate()


def has_sent(record: Path) -> bool:
    return record.exists() and record.stat().st_size > 0


def assert_balanced(printed: str) -> None:
    """The ledger that a sender printed when it ended. No event may be dropped."""
    ledger = json.loads(printed)
    dropped = sum(ledger["dropped"].values())
    parts = ledger["delivered"] + ledger["queued"] + ledger["spooled"] + dropped
    assert ledger["accepted"] == parts, ledger
    assert dropped == 0, ledger


def recover(folder: Path, spool: Spool, endpoint: str) -> None:
    """Starts a process that adopts the records of dead ones, and ends it after delivery."""
    left = spool.directories()
    with closing(Sender(folder / "last", spool, endpoint, 0)) as sender:
        # An adopted directory is removed once all its records are delivered.
        eventually(lambda: not any(path.exists() for path in left))
        sender.finish()
    assert not spool.directories(), spool.directories()
