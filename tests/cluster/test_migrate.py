"""Everything that one server stored is found on the nodes after a move."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import requests
from engines import postgres
from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT, GuardServer

from cluster.cluster import ClickHouseServer, Cluster
from cluster.test_nodes import event

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
PASSWORD = "correct horse 1"
EVENTS = 1500


def test_a_move_takes_everything_along_and_is_done_once(
    server_binary: Path, tmp_path: Path, cleanup: ExitStack
) -> None:
    control = cleanup.enter_context(postgres.running())
    telemetry = ClickHouseServer(tmp_path / "clickhouse")
    cleanup.callback(telemetry.stop)
    telemetry.start()
    data = tmp_path / "data"
    data.mkdir()
    server = GuardServer(server_binary, data)
    cleanup.callback(server.stop)
    server.start()
    (database,) = data.rglob("guard.db")

    def migrate() -> subprocess.CompletedProcess[str]:
        command = [server_binary, "migrate", "--from", f"sqlite://{database}"]
        command += ["--to-control", control.url(), "--to-telemetry", telemetry.url()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    sent = [event(ip_address=f"198.51.100.{n % 250}") for n in range(EVENTS)]
    batch = {"events": sent}
    key = {"X-API-Key": API_KEY}
    assert requests.post(f"{server.url}/api/v1/events", json=batch, headers=key, timeout=30).ok
    person = {"name": "ann", "role": "admin", "projects": ["*"], "password": PASSWORD}
    for path, body in (
        ("/api/v1/people", person),
        (f"{PROJECT}/rules/bans", {"ip": "203.0.113.9"}),
        ("/api/v1/projects", {"name": "shop"}),
    ):
        answer = requests.post(server.url + path, json=body, headers=ADMIN, timeout=30)
        assert answer.ok, answer.text

    running = migrate()
    assert (running.returncode, running.stdout) == (1, "")
    assert "another guard-server" in running.stderr
    server.stop()
    moved = migrate()
    assert moved.returncode == 0, moved.stderr
    assert f"default: {EVENTS} events" in moved.stdout
    again = migrate()
    assert again.returncode == 1
    assert "was moved there already" in again.stderr

    cluster = Cluster(server_binary, tmp_path, control, telemetry)
    cleanup.callback(cluster.close)
    node = cluster.add()
    stored = {record["idempotency_key"] for record in node.records("events")}
    assert stored == {record["idempotency_key"] for record in sent}
    assert node.get("/api/v1/rules")["ip_blacklist"] == ["203.0.113.9"]
    sign_in = {"name": "ann", "password": PASSWORD}
    assert requests.post(f"{node.url}/api/v1/session", json=sign_in, timeout=30).ok
    projects = requests.get(f"{node.url}/api/v1/projects", headers=ADMIN, timeout=30).json()
    assert [project["name"] for project in projects["items"]] == ["default", "shop"]
    # Numbers that the move copied are not given out again.
    added = {"name": "third"}
    assert requests.post(f"{node.url}/api/v1/projects", json=added, headers=ADMIN, timeout=30).ok
