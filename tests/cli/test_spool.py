"""`guard-agent spool` and doctor's check of the spool."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.backend import Backend
from support.guard_server import GuardServer

from cli.output import Output

Command = Callable[..., Output]

LEAVE = """
import os
from datetime import datetime, timezone

from guard_agent import AgentConfig, SecurityEvent, SyncGuardAgentHandler

agent = SyncGuardAgentHandler(AgentConfig.from_env())
for number in range(int(os.environ.get("RECORDS", "5"))):
    agent.send_event(
        SecurityEvent(
            timestamp=datetime.now(timezone.utc),
            event_type="ip_banned",
            reason=f"#{number}",
            metadata={"large": "x" * int(os.environ.get("BYTES", "0"))},
        )
    )
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def left(environment: dict[str, str], spool: Path) -> Path:
    """A spool with five events, left by a program that could not reach a backend."""
    leave(environment, spool)
    return spool


def leave(environment: dict[str, str], spool: Path, **more: str) -> None:
    settings = {
        "GUARD_AGENT_ENDPOINT": "http://127.0.0.1:1",
        "GUARD_AGENT_SPOOL_DIR": str(spool),
    }
    command = [sys.executable, "-c", LEAVE]
    subprocess.run(command, env=environment | settings | more, check=True)


def test_ls_lists_the_records_of_an_ended_program(guard_agent: Command, left: Path) -> None:
    output = guard_agent("spool", "ls", GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.code == 0
    assert ": ended, since " in output.says("ok", "spool")
    assert ", 5 event(s), 0 metric(s), " in output.says("ok", "spool")


def test_show_shows_the_records(guard_agent: Command, left: Path) -> None:
    output = guard_agent("spool", "show", GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.code == 0
    assert [f'"#{number}"' in output.text for number in range(6)] == [True] * 5 + [False]


def test_drain_delivers_the_remaining_records(
    guard_agent: Command, left: Path, server: GuardServer
) -> None:
    before = server.counts("events").get("ip_banned", 0)
    drain = ("spool", "drain", "--endpoint", server.url)
    output = guard_agent(*drain, GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.says("ok", "spool") == "5 record(s) delivered, 0 left"
    assert server.counts("events")["ip_banned"] == before + 5
    again = guard_agent(*drain, GUARD_AGENT_SPOOL_DIR=str(left))
    assert again.says("ok", "spool") == "0 record(s) delivered, 0 left"


def test_drain_continues_while_records_are_delivered(
    guard_agent: Command, environment: dict[str, str], spool: Path
) -> None:
    many = {"RECORDS": "600", "BYTES": "60000", "GUARD_AGENT_MAX_PAYLOAD_SIZE": "60000"}
    leave(environment, spool, **many)
    with Backend() as backend:
        drain = ("spool", "drain", "--endpoint", backend.url)
        settings = {"GUARD_AGENT_SPOOL_DIR": str(spool), "GUARD_AGENT_TIMEOUT": "5"}
        output = guard_agent(*drain, **settings)
        assert output.says("ok", "spool") == "600 record(s) delivered, 0 left"
        assert len({event["reason"] for event in backend.events}) == 600


def test_drain_reports_undelivered_records(guard_agent: Command, left: Path) -> None:
    settings = {"GUARD_AGENT_SPOOL_DIR": str(left), "GUARD_AGENT_TIMEOUT": "1"}
    output = guard_agent("spool", "drain", "--endpoint", "http://127.0.0.1:1", **settings)
    assert output.code == 1
    assert output.says("fail", "spool").startswith(
        "0 record(s) delivered, 5 left - see guard-agent doctor"
    )
    listed = guard_agent("spool", "ls", **settings)
    assert ", 5 event(s), " in listed.text


def test_drain_does_not_report_rejected_records_as_delivered(
    guard_agent: Command, left: Path
) -> None:
    with Backend() as backend:
        backend.refused = "#3"
        drain = ("spool", "drain", "--endpoint", backend.url)
        output = guard_agent(*drain, GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.code == 1
    expected = "4 record(s) delivered, 1 dropped (rejected), 0 left - see guard-agent spool ls"
    assert output.says("fail", "spool").startswith(expected)
    listed = guard_agent("spool", "ls", GUARD_AGENT_SPOOL_DIR=str(left))
    assert "rejected" in listed.says("warn", "set aside")


def test_requeue_without_dead_letter_records_does_nothing(guard_agent: Command, left: Path) -> None:
    output = guard_agent("spool", "requeue-quarantined", GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.says("ok", "spool").startswith("0 record(s) ")


def test_rejected_records_are_requeued_and_delivered_to_a_backend_that_accepts_them(
    guard_agent: Command, environment: dict[str, str], spool: Path, server: GuardServer
) -> None:
    with Backend() as backend:
        backend.refused = "#3"
        settings = {"GUARD_AGENT_ENDPOINT": backend.url, "GUARD_AGENT_SPOOL_DIR": str(spool)}
        command = [sys.executable, "-c", LEAVE + "agent.flush_buffer()"]
        subprocess.run(command, env=environment | settings, check=True)
    place = {"GUARD_AGENT_SPOOL_DIR": str(spool)}
    listed = guard_agent("spool", "ls", **place)
    assert "rejected" in listed.says("warn", "set aside")
    doctor = guard_agent("doctor", "--endpoint", server.url, **place)
    assert "; 1 set aside" in doctor.says("warn", "spool")

    requeued = guard_agent("spool", "requeue-quarantined", **place)
    assert requeued.says("ok", "spool").startswith("1 record(s) ")
    shown = guard_agent("spool", "show", **place)
    assert [f'"#{number}"' in shown.text for number in range(5)] == [False] * 3 + [True, False]

    before = server.counts("events").get("ip_banned", 0)
    drained = guard_agent("spool", "drain", "--endpoint", server.url, **place)
    assert drained.says("ok", "spool") == "1 record(s) delivered, 0 left"
    assert server.counts("events")["ip_banned"] == before + 1
    assert guard_agent("spool", "ls", **place).says("ok", "spool") == "nothing waits"


def test_without_a_directory_the_remedy_is_shown(guard_agent: Command) -> None:
    output = guard_agent("spool", "ls")
    assert output.code == 1
    assert "set GUARD_AGENT_SPOOL_DIR" in output.says("fail", "spool")


@pytest.mark.parametrize("action", ["ls", "show", "drain", "requeue-quarantined"])
def test_a_mistyped_directory_is_reported_and_not_created(
    guard_agent: Command, tmp_path: Path, action: str
) -> None:
    mistyped = tmp_path / "spol"
    output = guard_agent("spool", action, GUARD_AGENT_SPOOL_DIR=str(mistyped))
    assert output.code == 1
    assert output.says("fail", "spool").startswith(
        f"there is no directory {mistyped} - set GUARD_AGENT_SPOOL_DIR"
    )
    assert not mistyped.exists()


def test_doctor_reports_the_backlog_and_an_unusable_directory(
    guard_agent: Command, left: Path, server: GuardServer, tmp_path: Path
) -> None:
    doctor = ("doctor", "--endpoint", server.url)
    output = guard_agent(*doctor, GUARD_AGENT_SPOOL_DIR=str(left))
    assert output.says("ok", "spool").startswith("5 record(s), ")
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    output = guard_agent(*doctor, GUARD_AGENT_SPOOL_DIR=str(in_the_way))
    assert "make it writable" in output.says("fail", "spool")
    assert guard_agent(*doctor).says("ok", "spool").startswith("none: ")
