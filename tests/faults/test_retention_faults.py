"""Retention while the disk is full or fails: it removes nothing by halves, and then goes on."""

import base64
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from support.guard_server import API_KEY, PROJECT, GuardServer
from support.process import PATIENCE_SECONDS, eventually, free_port

from faults.server_faults import SHIM, bans, is_ready, lives, reads
from faults.small_disk import SmallDisk

# About 15 MB. Below 10 MiB, removing a tenth of it would help nobody, so nothing is removed.
EVENTS = 100
BYTES = 150_000
# Of a disk of 64 MiB. With less free, the oldest records give way.
RESERVE = 16 << 20
BALLAST = 22 << 20
EXPIRED = 'guard_server_expired_records_total{kind="event"}'
FAILED = "guard_server_failed_writes_total"


class Shop:
    """A server on a small disk that fails while a file is in `switches`."""

    def __init__(self, binary: Path, folder: Path, disk: SmallDisk) -> None:
        shim = folder / "failing_io.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, SHIM, "-ldl"], check=True)
        self.disk = disk
        self.switches = folder / "switches"
        self.switches.mkdir()
        self.metrics = f"127.0.0.1:{free_port()}"
        self.server = GuardServer(
            binary,
            folder,
            ("--reserve", str(RESERVE), "--metrics-listen", self.metrics),
            within=disk.enter,
            data=disk.place / "data",
            environment={"LD_PRELOAD": str(shim), "FAILING_IO": str(self.switches)},
        )

    def fill(self) -> None:
        """Stores one large event for each of the last hours."""
        now = datetime.now(timezone.utc)
        for n in range(EVENTS):
            event = {
                "idempotency_key": str(n),
                "timestamp": (now - timedelta(hours=n)).isoformat(),
                "event_type": "x",
                "reason": base64.b64encode(os.urandom(BYTES)).decode(),
            }
            answer = requests.post(
                f"{self.server.url}/api/v1/events",
                json={"events": [event]},
                headers={"X-API-Key": API_KEY},
                timeout=PATIENCE_SECONDS,
            )
            assert answer.status_code == 200, answer.text

    def measured(self, sample: str) -> float:
        """The value of a sample; 0 if nothing was measured yet. Needs no database."""
        text = requests.get(f"http://{self.metrics}/metrics", timeout=PATIENCE_SECONDS).text
        found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stored(self) -> list[str]:
        """The events that are stored. All ways to count them must agree."""

        def agreed() -> list[str]:
            # Retention may remove some between two of these calls.
            events = self.server.records("events")
            series = self.server.get(f"{PROJECT}/events/series", **{"from": "-30d"})
            counted = sum(series["other"]) + sum(sum(it["counts"]) for it in series["series"])
            total = self.server.summary()["events"]["total"]
            keys = [event["idempotency_key"] for event in events]
            return keys if len(keys) == counted == total else []

        return eventually(agreed)

    def fails(self, what: str, *, is_failing: bool) -> None:
        switch = self.switches / what
        if is_failing:
            switch.touch()
        else:
            switch.unlink()


@pytest.fixture
def shop(server_binary: Path, tmp_path: Path, cleanup: ExitStack) -> Shop:
    """With records, and more free than the reserve."""
    disk = cleanup.enter_context(SmallDisk(tmp_path / "disk"))
    shop = Shop(server_binary, tmp_path, disk)
    cleanup.callback(shop.server.stop)
    shop.server.start()
    shop.fill()
    assert len(shop.stored()) == EVENTS
    assert shop.measured(EXPIRED) == 0
    return shop


def the_oldest_are_gone(shop: Shop) -> Callable[[], list[str]]:
    """Whether some are gone: the oldest, and no other."""

    def check() -> list[str]:
        kept = shop.stored()
        assert kept == [str(n) for n in range(len(kept))]
        return kept if len(kept) < EVENTS else []

    return check


@pytest.mark.parametrize("what", ["write", "sync"])
def test_retention_removes_nothing_while_writing_fails_and_goes_on_afterwards(
    shop: Shop, what: str
) -> None:
    shop.fails(what, is_failing=True)
    shop.disk.take(BALLAST)
    # It tries every second.
    failures = shop.measured(FAILED) + 20
    eventually(lambda: shop.measured(FAILED) > failures)
    assert len(shop.stored()) == EVENTS
    assert shop.measured(EXPIRED) == 0
    assert lives(shop.server.url)
    assert reads(shop.server.url)
    assert not bans(shop.server.url, "203.0.113.1")
    shop.fails(what, is_failing=False)
    eventually(lambda: bans(shop.server.url, "203.0.113.1"))
    kept = eventually(the_oldest_are_gone(shop))
    shop.server.kill()
    shop.server.start()
    assert len(shop.stored()) <= len(kept)


def test_retention_goes_on_after_reading_failed(shop: Shop) -> None:
    shop.fails("read", is_failing=True)
    shop.disk.take(BALLAST)
    eventually(lambda: not reads(shop.server.url))
    assert lives(shop.server.url)
    assert shop.measured(EXPIRED) == 0
    shop.fails("read", is_failing=False)
    # To SQLite this looks like damage, until a full check finds none.
    eventually(lambda: bans(shop.server.url, "203.0.113.1"))
    eventually(the_oldest_are_gone(shop))


def test_on_a_full_disk_the_oldest_records_are_removed(shop: Shop) -> None:
    shop.disk.fill()
    kept = eventually(the_oldest_are_gone(shop))
    removed = EVENTS - len(kept)
    assert shop.measured(EXPIRED) >= removed
    assert shop.measured("guard_server_expired_bytes_total") > removed * BYTES / 2
    assert lives(shop.server.url)
    assert reads(shop.server.url)
    eventually(lambda: bans(shop.server.url, "203.0.113.1"))
    shop.disk.free()
    eventually(lambda: is_ready(shop.server.url))
    shop.server.kill()
    shop.server.start()
    eventually(the_oldest_are_gone(shop))
