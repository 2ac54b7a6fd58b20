"""Under every fault, each record accepted before the documented window is stored exactly once.

These tests repeat little; `make faults` repeats more, with a window of 10 ms and 5 seconds to
return to a disk. Both limits are longer here, for machines with a busy disk.
"""

from pathlib import Path

from support.process import PATIENCE_SECONDS

from faults.alert_deaths import killed_while_telling
from faults.faults import (
    committed_then_cut,
    full_disk,
    killed,
    read_only_disk,
    rust_rows,
    terminated_then_killed,
)
from faults.outcome import Outcome
from faults.redis_faults import killed_redis

BUSY_WINDOW_MS = 1000


def assert_kept(outcome: Outcome) -> None:
    print(outcome)
    assert outcome.good, outcome


def test_records_of_killed_processes_are_stored_once(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(killed(server_binary, tmp_path, kills=4, window_ms=BUSY_WINDOW_MS))


def test_an_alert_is_told_once_when_the_server_is_killed_before_delivering_it(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(killed_while_telling(server_binary, tmp_path, kills=3))


def test_a_resend_after_a_lost_response_is_stored_once(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(committed_then_cut(server_binary, tmp_path))


def test_records_of_an_app_killed_during_shutdown_are_stored_once(
    server_binary: Path, tmp_path: Path
) -> None:
    outcome = terminated_then_killed(
        server_binary, tmp_path, apps=1, seconds=0.5, window_ms=BUSY_WINDOW_MS
    )
    assert_kept(outcome)


def test_records_reach_a_full_disk_once_it_has_room(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(full_disk(server_binary, tmp_path, BUSY_WINDOW_MS, PATIENCE_SECONDS))


def test_records_reach_a_read_only_disk_once_it_is_writable(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(read_only_disk(server_binary, tmp_path, BUSY_WINDOW_MS, PATIENCE_SECONDS))


def test_records_of_four_processes_are_stored_once_when_redis_is_killed(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(killed_redis(server_binary, tmp_path))


def test_the_simulated_faults_make_rows() -> None:
    for row in rust_rows("damage"):
        assert_kept(row)
