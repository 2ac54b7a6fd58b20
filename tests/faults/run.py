"""Runs each fault and prints what happened to the records.

    make faults                   500 kills; about ten minutes
    make faults FAULTS=--quick    a few of each

Exits with 1 if a record was lost outside the documented windows or stored twice, or if a
fault could not be tested.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from faults.alert_deaths import killed_while_telling
from faults.crowds import hanging_clients, noisy_neighbour
from faults.faults import (
    committed_then_cut,
    full_disk,
    killed,
    read_only_disk,
    simulated,
    terminated_then_killed,
)
from faults.outcome import TITLES, Outcome
from faults.redis_faults import frozen_redis, full_redis, killed_redis
from faults.server_faults import failing_server_disk, full_server_disk, killed_server

WINDOW_MS = 10
BACK_WITHIN_SECONDS = 5


def table(rows: list[Outcome]) -> str:
    """A Markdown table with right-aligned numbers."""
    cells = [
        (row.fault, row.accepted, row.delivered, row.duplicated, row.lost, row.window)
        for row in rows
    ]
    lines = ["| " + " | ".join(TITLES) + " |", "|---|---:|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in cells]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="What becomes of records under faults.")
    parser.add_argument("--quick", action="store_true", help="a few repetitions of each fault")
    quick = parser.parse_args().quick
    server = Path(os.environ["GUARD_SERVER_BIN"]).resolve(strict=True)
    kills, apps = (20, 2) if quick else (500, 6)
    faults: list[Callable[[Path], list[Outcome]]] = [
        lambda folder: [killed(server, folder, kills, WINDOW_MS)],
        lambda folder: [committed_then_cut(server, folder)],
        lambda folder: [killed_while_telling(server, folder, 3 if quick else 50)],
        lambda folder: [terminated_then_killed(server, folder, apps, 10, WINDOW_MS)],
        lambda folder: [full_disk(server, folder, WINDOW_MS, BACK_WITHIN_SECONDS)],
        lambda folder: [read_only_disk(server, folder, WINDOW_MS, BACK_WITHIN_SECONDS)],
        lambda folder: [killed_redis(server, folder)],
        lambda folder: [frozen_redis(server, folder, 2 if quick else 10)],
        lambda folder: [full_redis(server, folder)],
        lambda folder: [killed_server(server, folder, 5 if quick else 100)],
        lambda folder: [full_server_disk(server, folder)],
        lambda folder: [failing_server_disk(server, folder)],
        lambda folder: [hanging_clients(server, folder, 5000)],
        lambda folder: [noisy_neighbour(server, folder)],
        lambda _: simulated(),
    ]
    rows: list[Outcome] = []
    failures: list[str] = []
    for fault in faults:
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = fault(Path(folder))
        except AssertionError:
            failures.append(traceback.format_exc())
            continue
        for row in found:
            print(f"{row.fault}: {'; '.join(row.notes) or 'done'}", file=sys.stderr, flush=True)
        rows += found
    print(table(rows))
    print("", *failures, sep="\n")
    bad = [row.fault for row in rows if not row.good]
    print(f"Lost or stored twice under: {', '.join(bad)}" if bad else "Nothing was lost.")
    return 1 if bad or failures else 0


if __name__ == "__main__":
    sys.exit(main())
