"""The public agents, unmodified from PyPI, report to guard-server as to their own backend.

Each has a virtual environment in the build folder, created once.
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
from support.guard_server import API_KEY, GuardServer
from support.process import eventually
from support.rules import Rules

CLIENT = Path(__file__).with_name("client.py")
ENVIRONMENTS = ROOT / ".build" / "e2e"
FIRST = "fastapi-guard-agent==0.1.1"
LATEST = "guard-agent==3.2.4"
COUNT = 250  # more than two batches of the agents' default size


def python_with(requirement: str) -> Path:
    """The interpreter of an environment with `requirement`; creates the environment if missing."""
    folder = ENVIRONMENTS / requirement.replace("==", "-")
    python = folder / "bin" / "python"
    # Write the marker last, so that an incomplete environment is created again.
    mark = folder / "complete"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        mark.touch()
    return python


def run(requirement: str, server: GuardServer, task: dict[str, Any], **config: Any) -> None:
    """Runs client.py with a public agent."""
    config = {
        "api_key": API_KEY,
        "endpoint": server.url,
        "project_id": "default",
        "buffer_size": 2 * COUNT,
        **config,
    }
    subprocess.run(
        [python_with(requirement), CLIENT],
        input=json.dumps({"config": config, **task}),
        text=True,
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def report(requirement: str, server: GuardServer, **config: str) -> None:
    """Makes a public agent report COUNT events and COUNT metrics."""
    task = {
        "events": [
            {
                "event_type": "ip_banned",
                "ip_address": f"198.18.9.{number}",
                "action_taken": "banned",
                "reason": "too many requests",
                "endpoint": f"/items/{number}",
                "method": "GET",
                "metadata": {"number": number},
            }
            for number in range(COUNT)
        ],
        "metrics": [
            {"metric_type": "request_count", "value": 1.0, "tags": {"number": str(number)}}
            for number in range(COUNT)
        ],
    }
    run(requirement, server, task, **config)


def assert_everything_arrived(server: GuardServer) -> None:
    assert server.counts("events") == {"ip_banned": COUNT}
    assert server.counts("metrics") == {"request_count": COUNT}
    events = {event["metadata"]["number"]: event for event in server.records("events")}
    assert events.keys() == set(range(COUNT))
    assert events[7]["ip_address"] == "198.18.9.7"
    assert events[7]["endpoint"] == "/items/7"
    assert {metric["tags"]["number"] for metric in server.records("metrics")} == {
        str(number) for number in range(COUNT)
    }


@pytest.mark.parametrize("requirement", [FIRST, LATEST])
def test_a_public_agent_delivers_everything(requirement: str, server: GuardServer) -> None:
    report(requirement, server)

    assert_everything_arrived(server)


def test_the_latest_public_agent_delivers_encrypted(
    new_server: Callable[..., GuardServer], encryption_key: str
) -> None:
    server = new_server("--encryption-key", encryption_key).start()

    report(LATEST, server, project_encryption_key=encryption_key)

    assert_everything_arrived(server)


def test_the_latest_public_agent_delivers_signed(
    new_server: Callable[..., GuardServer],
) -> None:
    server = new_server("--signing-secret", "a-signing-secret-of-the-project").start()

    report(LATEST, server, payload_signing_secret="a-signing-secret-of-the-project")

    assert_everything_arrived(server)


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
