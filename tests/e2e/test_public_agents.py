"""Ours and the public agents, unmodified, report to guard-server as to their own backend.

Each one from PyPI has a virtual environment in the build folder, created once. The one from
crates.io has a small program, built there once.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.example_app import ExampleApp
from support.guard_server import API_KEY, PROJECT, GuardServer
from support.process import eventually
from support.rules import Rules

CLIENT = Path(__file__).with_name("client.py")
CLIENT_IN_RUST = Path(__file__).with_name("guard-agent-rs")
ENVIRONMENTS = ROOT / ".build" / "e2e"
FIRST = "fastapi-guard-agent==0.1.1"
RENAMED = "fastapi-guard-agent==1.1.1"
OLDER = "guard-agent==2.8.1"
LATEST = "guard-agent==3.2.4"
IN_RUST = "guard-agent-rs 3.2.4"
OURS = "ours"
# Their types of records have no room for fields that they do not know.
WITHOUT_UNKNOWN_FIELDS = (FIRST, IN_RUST)
COUNT = 250  # more than two batches of the agents' default size
SECRET = "a-signing-secret-of-the-project"

# What guards add to the metadata of events and to the tags of metrics.
ENRICHED: dict[str, str | int] = {
    "guard.threat_score": 70,
    "guard.rule.id": "block-1",
    "guard.rule.version": 3,
    "guard.behavior.correlation_key": "c-1",
    "guard.behavior.recent_event_count": 12,
    "guard.project_id": "shop",
    "guard.service.name": "checkout",
    "guard.deployment.environment": "production",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def python_with(requirement: str) -> Path:
    """The interpreter of an environment with `requirement`; creates the environment if missing."""
    if requirement == OURS:
        return Path(sys.executable)
    folder = ENVIRONMENTS / requirement.replace("==", "-")
    python = folder / "bin" / "python"
    # Write the marker last, so that an incomplete environment is created again.
    mark = folder / "complete"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        mark.touch()
    return python


def client(requirement: str) -> list[str | Path]:
    """The command of a program that reports with an agent."""
    if requirement != IN_RUST:
        return [python_with(requirement), CLIENT]
    manifest, folder = CLIENT_IN_RUST / "Cargo.toml", ENVIRONMENTS / "guard-agent-rs"
    subprocess.run(
        ["cargo", "build", "-q", "--locked", "--manifest-path", manifest, "--target-dir", folder],
        check=True,
    )
    return [folder / "debug" / "guard-agent-rs-client"]


def run(requirement: str, server: GuardServer, task: dict[str, Any], **config: Any) -> None:
    """Runs a program with an agent."""
    config = {
        "api_key": API_KEY,
        "endpoint": server.url,
        "project_id": "default",
        "buffer_size": 2 * COUNT,
        **config,
    }
    subprocess.run(
        client(requirement),
        input=json.dumps({"config": config, **task}),
        text=True,
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def report(requirement: str, server: GuardServer, **config: Any) -> None:
    """Makes an agent report COUNT events and COUNT metrics."""
    task = {
        "events": [
            {
                "event_type": "ip_banned",
                "ip_address": f"198.18.9.{number}",
                "action_taken": "banned",
                "reason": "too many requests",
                "endpoint": f"/items/{number}",
                "method": "GET",
                "metadata": {"number": number, "deep": {"list": [1, None, "é"]}, **ENRICHED},
                "unknown_field": {"of": "a later version"},
            }
            for number in range(COUNT)
        ],
        "metrics": [
            {
                "metric_type": "request_count",
                "value": 1.0,
                "tags": {
                    "number": str(number),
                    **{key: str(value) for key, value in ENRICHED.items()},
                },
            }
            for number in range(COUNT)
        ],
    }
    run(requirement, server, task, **config)


def assert_everything_arrived(server: GuardServer, keeps_unknown_fields: bool = True) -> None:
    assert server.counts("events") == {"ip_banned": COUNT}
    assert server.counts("metrics") == {"request_count": COUNT}
    events = {event["metadata"]["number"]: event for event in server.records("events")}
    assert events.keys() == set(range(COUNT))
    event = events[7]
    assert event["ip_address"] == "198.18.9.7"
    assert event["endpoint"] == "/items/7"
    metadata = {"number": 7, "deep": {"list": [1, None, "é"]}, **ENRICHED}
    assert {key: event["metadata"][key] for key in metadata} == metadata
    if keeps_unknown_fields:
        assert event["unknown_field"] == {"of": "a later version"}
    assert {metric["tags"]["number"] for metric in server.records("metrics")} == {
        str(number) for number in range(COUNT)
    }


def assert_everything_is_found(server: GuardServer) -> None:
    """By a filter on any field, and by groups of the fields that guards add."""
    for key, value in {"number": 7, "deep.list": "é"}.items():
        page = server.get(f"{PROJECT}/events", filter=f'metadata.{key}:"{value}"', limit=1000)
        assert len(page["items"]) == (1 if key == "number" else COUNT)
    one = server.get(f"{PROJECT}/metrics", filter="tags.number:7")
    assert len(one["items"]) == 1
    for key, value in ENRICHED.items():
        is_it = f'"{value}"'
        events = server.get(f"{PROJECT}/events/top", by=f"metadata.{key}")
        assert [(item["key"], item["count"]) for item in events["items"]] == [(str(value), COUNT)]
        found = server.get(f"{PROJECT}/events/series", filter=f"metadata.{key}:{is_it}")
        assert found["total"] == COUNT
        statistic = {"metric": "request_count", "stat": "sum"}
        metrics = server.get(f"{PROJECT}/metrics/top", by=f"tags.{key}", **statistic)
        assert metrics["items"] == [{"key": str(value), "value": COUNT, "count": COUNT}]
        none = server.get(f"{PROJECT}/metrics/top", filter=f"-tags.{key}:{is_it}", **statistic)
        assert none["items"] == []


@pytest.mark.parametrize("requirement", [FIRST, RENAMED, OLDER, LATEST, IN_RUST, OURS])
def test_an_agent_delivers_everything_and_it_is_found(
    requirement: str, server: GuardServer
) -> None:
    report(requirement, server)

    assert_everything_arrived(server, requirement not in WITHOUT_UNKNOWN_FIELDS)
    assert_everything_is_found(server)


@pytest.mark.parametrize("requirement", [OLDER, LATEST, IN_RUST, OURS])
def test_an_agent_delivers_compressed_and_signed(
    requirement: str, new_server: Callable[..., GuardServer]
) -> None:
    server = new_server("--signing-secret", SECRET).start()

    report(
        requirement,
        server,
        payload_signing_secret=SECRET,
        compression_enabled=True,
        compression_threshold=100,
    )

    assert_everything_arrived(server, requirement not in WITHOUT_UNKNOWN_FIELDS)


@pytest.mark.parametrize("requirement", [RENAMED, OLDER, LATEST, IN_RUST, OURS])
def test_an_agent_delivers_encrypted(
    requirement: str, new_server: Callable[..., GuardServer], encryption_key: str
) -> None:
    server = new_server("--encryption-key", encryption_key).start()

    report(requirement, server, project_encryption_key=encryption_key)

    assert_everything_arrived(server, requirement not in WITHOUT_UNKNOWN_FIELDS)


def test_rule_status_updates_at_once_for_our_agent_and_by_interval_for_a_public_one(
    server: GuardServer, start_app: Callable[..., ExampleApp]
) -> None:
    rules = Rules(server)
    rules.publish()
    start_app(server.url)
    applied = {
        "event_type": "dynamic_rule_applied",
        "ip_address": "system",
        "action_taken": "rules_updated",
        "reason": "as guard-core tells it",
        "metadata": {"version": 1},
    }
    for _ in range(2):
        run(LATEST, server, {"events": [applied], "metrics": [], "rules": True})
    rules.add("bans", ip="203.0.113.7")

    def reached() -> Any:
        """Returns our agent and the public one, once ours has applied the second version."""
        found = server.adoption()
        agents = {agent["agent"].partition("/")[0]: agent for agent in found["agents"]}
        ours = agents.get("fastapi-guard-agent")
        is_applied = ours and ours["applied"] and ours["applied"]["version"] == 2
        return is_applied and (found, ours, agents["guard-agent"])

    found, ours, public = eventually(reached)
    assert found["version"] == 2
    assert (ours["state"], ours["holds"], ours["fetched"]["version"]) == ("applied", True, 2)
    assert ours["process"].isdigit()
    assert eventually(lambda: server.adoption()["agents"][-1]["in_force"] == 2)
    assert (public["state"], public["holds"]) == ("waiting", False)
    assert public["interval_s"] > 0
    assert public["expected_by"]
    assert (public["fetched"]["version"], public["applied"]["version"]) == (1, 1)
    counts = found["counts"]
    assert (counts["applied"], counts["waiting"], counts["in_intervals"]) == (1, 1, 1)
