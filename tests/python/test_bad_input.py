"""Bad input: each case has one outcome, documented in docs/configuration.md.

Wrong configurations are in test_config.py, values without a JSON form in test_records.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.backend import Backend
from support.log import Log
from support.process import PATIENCE_SECONDS
from support.read_only import read_only

from guard_agent import AgentConfig, SyncGuardAgentHandler

Make = Callable[..., AgentConfig]
NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("field", "value", "sent"),
    [
        ("status_code", "abc", "abc"),
        ("response_time", float("nan"), None),
        ("metadata", [1], [1]),
        ("reason", "\ud800", "\ufffd\ufffd\ufffd"),
        ("reason", b"\xff", "\ufffd"),
        ("idempotency_key", "no-uuid", "no-uuid"),
    ],
)
def test_a_field_of_a_wrong_type_is_sent_unchanged(
    make_config: Make, backend: Backend, field: str, value: Any, sent: Any
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event({"timestamp": NOON, "event_type": "x", field: value})
    agent.flush_buffer()
    assert backend.events[0][field] == sent


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_without_a_number_is_sent_as_null(
    make_config: Make, backend: Backend, value: float
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_metric({"timestamp": NOON, "metric_type": "block_rate", "value": value})
    agent.flush_buffer()
    assert backend.metrics[0]["value"] is None


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"timestamp": NOON, "metric_type": "nonsense", "value": 1}, "use one of request_count"),
        ({"timestamp": NOON, "metric_type": "block_rate", "value": "x"}, "`value`"),
        ({"timestamp": NOON, "metric_type": "block_rate"}, "`value`"),
    ],
)
def test_a_metric_that_cannot_be_read_is_counted_and_logged(
    make_config: Make, log: Log, record: dict[str, Any], problem: str
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_metric(record)
    log.wait_for(problem)
    assert agent.get_stats()["ledger"]["dropped"] == {"invalid": 1}


@pytest.mark.parametrize("value", ["x" * 10_000_000, b"x" * 10_000_000])
def test_ten_megabytes_in_one_value_are_truncated(
    make_config: Make, backend: Backend, value: Any
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event({"timestamp": NOON, "event_type": "x", "metadata": {"value": value}})
    agent.flush_buffer()
    assert backend.events[0]["metadata"]["value"] == "x" * 1024 + "...[TRUNCATED]"


def test_ten_megabytes_in_ten_thousand_values_are_too_large(make_config: Make, log: Log) -> None:
    agent = SyncGuardAgentHandler(make_config())
    metadata = {str(number): "x" * 1000 for number in range(10_000)}
    agent.send_event({"timestamp": NOON, "event_type": "x", "metadata": metadata})
    log.wait_for("shorten its metadata or raise max_batch_bytes")
    assert agent.get_stats()["ledger"]["dropped"] == {"too_large": 1}


HOMELESS = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
from guard_agent import AgentConfig, SyncGuardAgentHandler, get_current_timestamp
config = {"api_key": "an-api-key-for-tests", "endpoint": sys.argv[1], "flush_interval": 3600}
agent = SyncGuardAgentHandler(AgentConfig(**config))
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "first"})
agent.flush_buffer()
agent = SyncGuardAgentHandler(AgentConfig(**config, project_id="shop"))
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "second"})
agent.stop()
"""


def a_file(tmp_path: Path) -> list[str]:
    home = tmp_path / "home"
    home.write_text("no folder")
    return []


@pytest.mark.parametrize(
    "spoil", [a_file, read_only], ids=["is a file", "is on a read-only file system"]
)
def test_a_read_only_home_is_logged_and_the_agent_works(
    backend: Backend, tmp_path: Path, spoil: Callable[[Path], list[str]]
) -> None:
    ended = subprocess.run(
        [*spoil(tmp_path), sys.executable, "-c", HOMELESS, backend.url],
        env=os.environ | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert [event["event_type"] for event in backend.events] == ["first", "second"]
    (line,) = ended.stderr.splitlines()
    assert line.startswith("WARNING the installation's identifier cannot be kept (")
    assert line.endswith("set install_id to give one")
    posts = [request for request in backend.received if request.path == "/api/v1/events"]
    assert len({post.headers["x-agent-install-id"] for post in posts}) == 1


KEEPING = """
import logging, sys, time
logging.basicConfig(format="%(levelname)s %(message)s")
from guard_agent import AgentConfig, SyncGuardAgentHandler, get_current_timestamp
place = {"spool_dir": f"{sys.argv[2]}/spool", "rules_cache_path": f"{sys.argv[2]}/rules.json"}
config = {"api_key": "an-api-key-for-tests", "endpoint": sys.argv[1], "install_id": "test"}
agent = SyncGuardAgentHandler(AgentConfig(**config, **place))
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
print(agent.get_dynamic_rules().version)
agent.flush_buffer()
stats = agent.get_stats()
print(stats["buffer_stats"]["durability_degraded"], stats["ledger"]["dropped"])
"""


def test_on_a_read_only_file_system_the_agent_works_in_memory(
    backend: Backend, tmp_path: Path
) -> None:
    backend.rules = {"rule_id": "r", "version": 7}
    place = tmp_path / "place"
    place.mkdir()
    ended = subprocess.run(
        [*read_only(place), sys.executable, "-c", KEEPING, backend.url, str(place)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    spool, rules = sorted(ended.stderr.splitlines())
    assert spool.startswith("ERROR records are kept in memory only, and lost with the process: ")
    assert spool.endswith("; make spool_dir writable for this user, or name another")
    assert rules.startswith(f"WARNING rules not kept in {place}/rules.json: ")
    assert rules.endswith("; make rules_cache_path writable for this user, or name another")
    assert ended.stdout.splitlines() == ["7", "True {}"]
    assert [event["event_type"] for event in backend.events] == ["x"]


class Raises:
    """Raises on every access."""

    def __init__(self, error: BaseException) -> None:
        self.__dict__["error"] = error

    def __getattr__(self, _: str) -> Any:
        raise self.__dict__["error"]

    def __str__(self) -> str:
        raise self.__dict__["error"]

    def __iter__(self) -> Any:
        raise self.__dict__["error"]

    def __len__(self) -> int:
        raise self.__dict__["error"]

    def keys(self) -> Any:
        raise self.__dict__["error"]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise self.__dict__["error"]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("any")]
)
def test_an_exception_of_an_object_never_leaves_a_call(
    make_config: Make, error: BaseException
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    bad = Raises(error)
    event = {"timestamp": NOON, "event_type": "ip_banned"}
    for record in (bad, {bad: 1}, {"event_type": bad}, event | {"metadata": {"a": [bad]}}):
        agent.send_event(record)
    # A record is lost, or sent without the fields that cannot be read.
    ledger = agent.get_stats()["ledger"]
    assert ledger["accepted"] == 4
    assert ledger["queued"] + ledger["dropped"]["invalid"] == 4
