"""Under every fault, each record accepted before the documented window is stored exactly once.

These tests repeat little; `make faults` repeats more, with a window of 10 ms and 5 seconds to
return to a disk. Both limits are longer here, for machines with a busy disk.
"""

from pathlib import Path

from support.process import PATIENCE_SECONDS

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


def test_what_killed_processes_accepted_is_stored_once(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(killed(server_binary, tmp_path, kills=4, window_ms=BUSY_WINDOW_MS))


def test_what_is_sent_again_after_a_cut_answer_is_stored_once(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(committed_then_cut(server_binary, tmp_path))


def test_what_an_app_accepted_that_is_killed_as_it_ends_is_stored_once(
    server_binary: Path, tmp_path: Path
) -> None:
    outcome = terminated_then_killed(
        server_binary, tmp_path, apps=1, seconds=0.5, window_ms=BUSY_WINDOW_MS
    )
    assert_kept(outcome)


def test_what_a_full_disk_had_no_room_for_is_on_it_once_there_is(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(full_disk(server_binary, tmp_path, BUSY_WINDOW_MS, PATIENCE_SECONDS))


def test_what_a_read_only_disk_did_not_take_is_on_it_once_it_is_writable(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(read_only_disk(server_binary, tmp_path, BUSY_WINDOW_MS, PATIENCE_SECONDS))


def test_what_four_processes_accepted_while_redis_was_killed_is_stored_once(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(killed_redis(server_binary, tmp_path))


def test_the_simulated_faults_make_rows() -> None:
    for row in rust_rows("damage"):
        assert_kept(row)
