"""A real Prometheus scrapes a real server, and evaluates the alerts of the documentation."""

import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from support import ROOT
from support.guard_server import ADMIN_TOKEN, API_KEY, GuardServer
from support.process import PATIENCE_SECONDS, eventually, free_port

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: guard-server
    static_configs: [{{targets: ["{target}"]}}]
"""
EXPECTED = (
    "up",
    "guard_server_agent_losses_total",
    "guard_server_commit_duration_seconds_bucket",
    "guard_server_commit_writes_count",
    "guard_server_connections",
    "guard_server_disk_free_bytes",
    "guard_server_failed_writes_total",
    "guard_server_held_requests",
    "guard_server_records_total",
    "guard_server_refusals_total",
    "guard_server_request_duration_seconds_bucket",
    "guard_server_requests_total",
    "guard_server_sessions",
    "guard_server_storage_full",
    "guard_server_store_bytes",
    "guard_server_store_used_bytes",
    "guard_server_waiting_writes",
)


class Prometheus:
    """Scrapes a target every second."""

    def __init__(self, folder: Path, target: str) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is missing; install it, as by apt-get install prometheus"
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/api/v1"
        rules = ROOT / "packaging" / "alerts.yaml"
        configuration = folder / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(rules=rules, target=target))
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={address}",
                "--log.level=error",
            ]
        )

    def get(self, path: str, **query: str) -> Any:
        answer = requests.get(f"{self.url}/{path}", params=query, timeout=PATIENCE_SECONDS).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, expression: str) -> float | None:
        """The value of an expression that has one sample; nothing if it has none."""
        samples = self.get("query", query=expression)["result"]
        return float(samples[0]["value"][1]) if samples else None

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def scraped(
    new_server: Callable[..., GuardServer], tmp_path: Path, cleanup: ExitStack
) -> tuple[GuardServer, Prometheus]:
    target = f"127.0.0.1:{free_port()}"
    server = new_server("--metrics-listen", target).start()
    now = datetime.now(timezone.utc).isoformat()
    event = {"timestamp": now, "event_type": "ip_banned"}
    agent = {"X-API-Key": API_KEY, "X-Agent-Install-Id": "shop"}
    for path, body in (
        ("/api/v1/events", {"events": [event, event, {"event_type": "no time"}]}),
        ("/api/v1/status", {"status": "healthy", "ledger": {"dropped": {"queue_full": 3}}}),
        ("/api/v1/nowhere", {}),
    ):
        requests.post(server.url + path, json=body, headers=agent, timeout=PATIENCE_SECONDS)
    prometheus = Prometheus(tmp_path, target)
    cleanup.callback(prometheus.stop)
    eventually(lambda: prometheus.value("up") == 1)
    return server, prometheus


def test_prometheus_scrapes_every_series_without_an_error(
    scraped: tuple[GuardServer, Prometheus],
) -> None:
    _, prometheus = scraped
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    names = prometheus.get("label/__name__/values")
    assert not [name for name in EXPECTED if name not in names]
    stored = 'guard_server_records_total{kind="event",outcome="Stored"}'
    assert prometheus.value(stored) == 2
    assert prometheus.value('guard_server_agent_losses_total{reason="queue_full"}') == 3
    assert prometheus.value('guard_server_refusals_total{code="agent_key"}') == 1


def test_promtool_finds_nothing_wrong_with_the_metrics(
    scraped: tuple[GuardServer, Prometheus],
) -> None:
    server, _ = scraped
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    text = requests.get(f"{server.url}/metrics", headers=token, timeout=PATIENCE_SECONDS).text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_alert_of_the_documentation_can_be_evaluated(
    scraped: tuple[GuardServer, Prometheus],
) -> None:
    _, prometheus = scraped

    def evaluated() -> list[dict[str, Any]]:
        (group,) = prometheus.get("rules")["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return [] if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = eventually(evaluated)
    assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []
    assert not [rule["name"] for rule in rules if rule["state"] == "firing"]
    text = (ROOT / "docs" / "operating.md").read_text()
    documented = re.findall(r"^```promql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert documented
    for expression in documented:
        prometheus.get("query", query=expression)
    # The documentation tells of every alert.
    assert not [rule["name"] for rule in rules if rule["name"] not in text]
