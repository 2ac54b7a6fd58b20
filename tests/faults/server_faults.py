"""Faults of the server: it is killed, its disk is full or fails, while clients go on."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from support.guard_server import PROJECT, GuardServer
from support.process import PATIENCE_SECONDS, eventually

from faults.outcome import Outcome
from faults.small_disk import SmallDisk
from faults.writers import Changes, Crowd, Writers, as_person, check_audit

WRITERS = 50
# The longest life of a server before it is killed.
LONGEST_LIFE_SECONDS = 0.5
PASSWORD = "correct horse battery"
SHIM = Path(__file__).resolve().parent / "programs" / "failing_io.c"


def compare(fault: str, server: GuardServer, writers: Writers) -> Outcome:
    """Compares what was acknowledged with what is stored, and the changes with the audit log."""
    stored = Counter(event["idempotency_key"] for event in server.records("events"))
    accepted = set(writers.acknowledged)
    check_audit(server.url)
    return Outcome(
        fault,
        accepted=len(accepted),
        delivered=sum(key in stored for key in accepted),
        duplicated=sum(stored.values()) - len(stored),
        lost=sum(key not in stored for key in accepted),
        window="none",
    )


def killed_server(binary: Path, folder: Path, kills: int) -> Outcome:
    """SIGKILL at random moments under writers and changes. Unanswered batches are sent again."""
    server = GuardServer(binary, folder).start()
    try:
        writers, changes = Writers(server.url), Changes(server.url)
        with Crowd(*[writers.write] * WRITERS, changes.change):
            for n in range(kills):
                time.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
                server.kill()
                server.start()
                print(f"\r{n + 1} of {kills} killed", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            goes_on(writers)
        return compare(f"server: SIGKILL at {kills} random moments, 50 writers", server, writers)
    finally:
        server.stop()


def goes_on(writers: Writers) -> None:
    """Waits until the server acknowledges records."""
    before = len(writers.acknowledged)
    eventually(lambda: len(writers.acknowledged) > before)


def is_refused(writers: Writers) -> None:
    """Waits until the server refuses records."""
    before = writers.refused
    eventually(lambda: writers.refused > before + WRITERS)


def signs_in(url: str) -> bool:
    body = {"name": "anna", "password": PASSWORD}
    answer = requests.post(f"{url}/api/v1/session", json=body, timeout=PATIENCE_SECONDS)
    return answer.ok


def add_person(url: str) -> None:
    person = {"name": "anna", "role": "admin", "projects": ["*"], "password": PASSWORD}
    status, answer = as_person(url, "POST", "/api/v1/people", person)
    assert status == 200, answer


def reads(url: str) -> bool:
    status, answer = as_person(url, "GET", f"{PROJECT}/events?from=2026-01-01T00:00:00Z")
    return status == 200 and len(answer["items"]) > 0


def bans(url: str, ip: str) -> bool:
    return as_person(url, "POST", f"{PROJECT}/rules/bans", {"ip": ip})[0] == 200


def is_ready(url: str) -> bool:
    return requests.get(f"{url}/ready", timeout=PATIENCE_SECONDS).status_code == 200


def lives(url: str) -> bool:
    return requests.get(f"{url}/health", timeout=PATIENCE_SECONDS).status_code == 200


@contextmanager
def pressed(server: GuardServer) -> Iterator[Writers]:
    """A server with a person, records, and writers that go on."""
    server.start()
    try:
        add_person(server.url)
        writers = Writers(server.url)
        with Crowd(*[writers.write] * WRITERS):
            goes_on(writers)
            yield writers
            eventually(lambda: is_ready(server.url))
            goes_on(writers)
    finally:
        server.stop()


def full_server_disk(binary: Path, folder: Path) -> Outcome:
    """A completely full disk: records get a 503, all else works; when there is room, all does."""
    with SmallDisk(folder / "disk") as disk:
        server = GuardServer(binary, folder, within=disk.enter, data=disk.place / "data")
        with pressed(server) as writers:
            url = server.url
            disk.fill()
            is_refused(writers)
            assert lives(url)
            assert reads(url)
            # The first of them may find the disk full, after which the server uses what it kept.
            eventually(lambda: signs_in(url))
            eventually(lambda: bans(url, "203.0.113.1"))
            for works in (signs_in, reads, lambda url: bans(url, "203.0.113.2")):
                assert works(url)
            assert not is_ready(url)
            disk.free()
        server.kill()
        server.start()
        try:
            return compare("server: disk full (tmpfs), then SIGKILL", server, writers)
        finally:
            server.stop()


def failing_server_disk(binary: Path, folder: Path) -> Outcome:
    """EIO on write, on sync and on read: 503 while it lasts, and everything works afterwards."""
    shim, switches = folder / "failing_io.so", folder / "switches"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, SHIM, "-ldl"], check=True)
    switches.mkdir()
    environment = {"LD_PRELOAD": str(shim), "FAILING_IO": str(switches)}
    server = GuardServer(binary, folder, environment=environment)
    with pressed(server) as writers:
        for what in ("write", "sync"):
            (switches / what).touch()
            is_refused(writers)
            assert lives(server.url)
            assert reads(server.url)
            assert not bans(server.url, "203.0.113.1")
            (switches / what).unlink()
            goes_on(writers)
            eventually(lambda: bans(server.url, "203.0.113.1") and signs_in(server.url))
        # To SQLite this looks like damage, until a full check finds none.
        (switches / "read").touch()
        eventually(lambda: not reads(server.url))
        assert lives(server.url)
        (switches / "read").unlink()
    server.kill()
    server.start()
    try:
        return compare("server: EIO on write, on sync and on read, then SIGKILL", server, writers)
    finally:
        server.stop()
