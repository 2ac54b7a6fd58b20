"""The public agents, unmodified from PyPI, report to guard-server as they do to their own backend.

Each has a virtual environment under the build folder, made once.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from guard_server import API_KEY, GuardServer

CLIENT = Path(__file__).with_name("client.py")
ENVIRONMENTS = Path(__file__).parents[2] / ".build" / "e2e"
FIRST = "fastapi-guard-agent==0.1.1"
LATEST = "guard-agent==3.2.4"
COUNT = 250  # more than two of the agents' own batches


def python_with(requirement: str) -> Path:
    """The interpreter of an environment that has `requirement`, made when it is not there."""
    folder = ENVIRONMENTS / requirement.replace("==", "-")
    python = folder / "bin" / "python"
    # The mark is written last, so that a half-made environment is made again.
    mark = folder / "complete"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        mark.touch()
    return python


def report(requirement: str, server: GuardServer, **config: str) -> None:
    """Has a public agent report COUNT events and COUNT metrics."""
    task = {
        "config": {
            "api_key": API_KEY,
            "endpoint": server.url,
            "project_id": "default",
            "buffer_size": 2 * COUNT,
            **config,
        },
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
    subprocess.run(
        [python_with(requirement), CLIENT],
        input=json.dumps(task),
        text=True,
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


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
