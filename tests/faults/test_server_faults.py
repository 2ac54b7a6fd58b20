"""Under every fault of the server, each acknowledged record is stored exactly once, and each change
is in the audit log. `make faults` kills more often."""

from pathlib import Path

from faults.crowds import hanging_clients, noisy_neighbour
from faults.server_faults import failing_server_disk, full_server_disk, killed_server
from faults.test_faults import assert_kept


def test_a_killed_server_has_what_it_acknowledged_once(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(killed_server(server_binary, tmp_path, kills=10))


def test_on_a_full_disk_people_sign_in_and_change_rules_and_records_come_back(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(full_server_disk(server_binary, tmp_path))


def test_a_server_goes_on_after_io_errors(server_binary: Path, tmp_path: Path) -> None:
    assert_kept(failing_server_disk(server_binary, tmp_path))


def test_batches_are_taken_beside_five_thousand_connections_that_hang(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(hanging_clients(server_binary, tmp_path, connections=5000))


def test_a_project_beyond_its_quota_keeps_no_other_from_sending(
    server_binary: Path, tmp_path: Path
) -> None:
    assert_kept(noisy_neighbour(server_binary, tmp_path))
