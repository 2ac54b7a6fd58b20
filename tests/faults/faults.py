"""Faults with real processes and a real server. Rust tests cover faults with simulated time."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import requests
from support import ROOT
from support.guard_server import GuardServer
from support.process import PATIENCE_SECONDS, Process, eventually
from support.relay import Exchange, Relay

from faults.death import Death, Life
from faults.flapping import Flapping
from faults.outcome import Accepted, Outcome
from faults.senders import ENVIRONMENT, NOWHERE, Sender, Spool, has_sent, recover
from faults.small_disk import SmallDisk

# The agent's log messages when its disk fails and returns.
MEMORY_ONLY = "records are kept in memory only"
BACK = "the spool works again"

# The longest life of a process before it is killed.
LONGEST_LIFE_SECONDS = 0.6
# All senders write to the same disk and share the processors.
AT_ONCE = 2
CUT_ANSWERS = 3
EVENTS = 3000


class Trial:
    """A server, and the processes that report to it until they are killed."""

    def __init__(self, server: GuardServer, folder: Path, accepted: Accepted) -> None:
        self.server = server
        self.folder = folder
        self.spool = Spool.below(folder)
        self.accepted = accepted

    def lives(self, live: Callable[[Path], Death], count: int) -> None:
        """Runs the given lives. Each gets a file for its record and returns its time of death."""

        def life(number: int) -> tuple[Path, Death]:
            record = self.folder / f"life-{number}"
            return record, live(record)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, (record, death) in enumerate(pool.map(life, range(count)), 1):
                self.accepted.add(record, death)
                print(f"\r{number} of {count} killed", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def compare(self, fault: str) -> Outcome:
        return self.accepted.compare(fault, "10 ms before each kill", self.server)


@contextmanager
def trial(binary: Path, folder: Path, window_ms: float) -> Iterator[Trial]:
    server = GuardServer(binary, folder)
    try:
        yield Trial(server.start(), folder, Accepted(window_ms))
    finally:
        server.stop()


def killed(binary: Path, folder: Path, kills: int, window_ms: float) -> Outcome:
    """SIGKILL at random moments under load, while the backend comes and goes."""
    with trial(binary, folder, window_ms) as run:
        flapping = Flapping(run.server.url)

        def live(record: Path) -> Death:
            with closing(Sender(record, run.spool, flapping.url)) as sender:
                sender.wait_for_first()
                time.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
                return sender.kill()

        try:
            run.lives(live, kills)
            flapping.stay_up()
            recover(folder, run.spool, flapping.url)
        finally:
            flapping.stop()
        outcome = run.compare(
            f"SIGKILL at {kills} random moments, 1,000 events/s, flapping backend"
        )
    outcome.notes.append(f"the backend went away {flapping.times_down} times")
    return outcome


def committed_then_cut(binary: Path, folder: Path) -> Outcome:
    """The server stores a batch, but the connection ends before the response."""
    record = folder / "sender"
    with trial(binary, folder, 0) as run:
        relay = Relay(run.server.url)
        cut: list[Exchange] = []

        def answered(exchange: Exchange) -> bool:
            if exchange.carries_records and len(cut) < CUT_ANSWERS:
                cut.append(exchange)
                return False
            return True

        relay.answered = answered
        try:
            with closing(Sender(record, run.spool, relay.url, EVENTS)) as sender:
                eventually(lambda: len(cut) == CUT_ANSWERS)
                sender.finish()
            recover(folder, run.spool, relay.url)
        finally:
            relay.stop()
        run.accepted.add(record)
        fault = f"the server commits, then the connection is cut, {CUT_ANSWERS} times"
        return run.accepted.compare(fault, "none", run.server)


def terminated_then_killed(
    binary: Path, folder: Path, apps: int, seconds: float, window_ms: float
) -> Outcome:
    """SIGTERM to uvicorn, which waits for a request that never ends; SIGKILL later."""
    with trial(binary, folder, window_ms) as run:
        settings = {"FAULTS_SPOOL": str(run.spool.path), "FAULTS_ENDPOINT": run.server.url}

        def live(record: Path) -> Death:
            command: list[str | Path] = [sys.executable, "-m", "uvicorn", "held_app:app"]
            process = Process([*command, "--port", "0"], record.with_suffix(".log"))
            environment = ENVIRONMENT | settings | {"FAULTS_RECORD": str(record)}
            url = process.start(environment, "Uvicorn running on")
            child = process.child
            assert child
            life = Life(child)
            try:
                hold(url)
                eventually(lambda: has_sent(record))
                child.send_signal(signal.SIGTERM)
                eventually(lambda: process.said("(Waiting for)"))
                time.sleep(seconds)
                assert child.poll() is None, process.output()
            finally:
                death = life.kill()
            return death

        run.lives(live, apps)
        recover(folder, run.spool, run.server.url)
        return run.compare(f"SIGTERM, SIGKILL {seconds} s later: {apps} uvicorn app(s) under load")


def full_disk(binary: Path, folder: Path, window_ms: float, seconds: float) -> Outcome:
    """A full disk; SIGKILL once it has room and the agent uses it again, within `seconds`."""

    def suffer(disk: SmallDisk, sender: Sender) -> None:
        sender.wait_for_first()
        disk.fill()
        eventually(lambda: sender.said(MEMORY_ONLY))
        disk.free()

    fault = "disk full (tmpfs); SIGKILL once there is room"
    return bad_disk(binary, folder, window_ms, seconds, fault, suffer)


def read_only_disk(binary: Path, folder: Path, window_ms: float, seconds: float) -> Outcome:
    """A disk that is read-only when the process starts; otherwise like `full_disk`."""

    def suffer(disk: SmallDisk, sender: Sender) -> None:
        eventually(lambda: sender.said(MEMORY_ONLY))
        disk.allow_writing()

    fault = "disk read-only (tmpfs remounted); SIGKILL once it is writable"
    return bad_disk(binary, folder, window_ms, seconds, fault, suffer, read_only=True)


def bad_disk(
    binary: Path,
    folder: Path,
    window_ms: float,
    seconds: float,
    fault: str,
    suffer: Callable[[SmallDisk, Sender], None],
    read_only: bool = False,
) -> Outcome:
    record = folder / "sender"
    with trial(binary, folder, window_ms) as run, SmallDisk(folder / "disk") as disk:
        if read_only:
            disk.forbid_writing()
        with closing(Sender(record, disk.spool, NOWHERE)) as sender:
            suffer(disk, sender)
            mended = time.monotonic()
            eventually(lambda: sender.said(BACK), seconds)
            back = time.monotonic() - mended
            run.accepted.add(record, sender.kill())
        recover(folder, disk.spool, run.server.url)
        outcome = run.compare(fault)
    outcome.notes.append(f"on the disk again after {back:.1f} s")
    return outcome


def hold(url: str) -> None:
    """Sends a request that never gets a response, and ends with the server."""

    def get() -> None:
        try:
            requests.get(url, timeout=PATIENCE_SECONDS)
        except requests.RequestException:
            """The server was killed."""

    threading.Thread(target=get, daemon=True).start()


def simulated() -> list[Outcome]:
    """The table rows that Rust tests print; those use simulated clocks and disks."""
    return [*rust_rows("agent", "faults::", "spool::", "spool_lost::"), *rust_rows("damage")]


def rust_rows(target: str, *filters: str) -> list[Outcome]:
    # Build the whole workspace as usual, so that no dependency is built again.
    command = ["cargo", "test", "--quiet", "--locked", "--workspace", "--test", target]
    command += ["--", "--nocapture", *filters]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line[line.index("FAULT\t") :] for line in run.stdout.splitlines() if "FAULT\t" in line]
    # The rows appear in the order in which the tests end.
    rows = [row(line.split("\t")[1:]) for line in sorted(lines)]
    if run.returncode or not rows:
        raise AssertionError(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")
    return rows


def row(cells: list[str]) -> Outcome:
    fault, accepted, delivered, duplicated, lost, window = cells
    return Outcome(fault, int(accepted), int(delivered), int(duplicated), int(lost), window)
