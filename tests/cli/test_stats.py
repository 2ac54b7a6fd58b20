"""guard-agent stats, against a real server that has a program's report."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support.guard_server import GuardServer
from support.process import eventually

from cli.output import Output
from cli.scripted import Answer, Scripted

Command = Callable[..., Output]
StartBackend = Callable[..., Scripted]

PROGRAM = """
from guard_agent import AgentConfig, SyncGuardAgentHandler
agent = SyncGuardAgentHandler(AgentConfig.from_env())
agent.start()
input()
"""


@pytest.fixture
def program(
    server: GuardServer, environment: dict[str, str], cleanup: ExitStack
) -> "subprocess.Popen[bytes]":
    """A running program of this installation that has reported to the server."""
    settings = {"GUARD_AGENT_ENDPOINT": server.url}
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment | settings, stdin=subprocess.PIPE
    )
    cleanup.callback(program.communicate)
    eventually(lambda: server.summary()["agents"])
    return program


def test_the_last_report_is_shown(
    server: GuardServer, program: "subprocess.Popen[bytes]", guard_agent: Command
) -> None:
    output = guard_agent("stats", "--endpoint", server.url)
    assert output.code == 0, output.text
    found = output.says("ok", "agent")
    assert found.startswith("healthy at 20")
    assert f"process {program.pid} on " in found
    expected = "0 accepted: 0 delivered, 0 queued, 0 spooled, dropped: none"
    assert output.says("ok", "records") == expected


@pytest.mark.usefixtures("program")
def test_a_test_event_does_not_replace_the_programs_report(
    server: GuardServer, guard_agent: Command
) -> None:
    before = guard_agent("stats", "--endpoint", server.url)
    guard_agent("send-test-event", "--endpoint", server.url)
    assert guard_agent("stats", "--endpoint", server.url).text == before.text


def test_an_installation_without_a_report_is_reported(
    server: GuardServer, guard_agent: Command
) -> None:
    output = guard_agent("stats", "--endpoint", server.url, GUARD_AGENT_INSTALL_ID="another")
    assert output.code == 1
    expected = "the installation another has not reported to this backend - run this as the user"
    assert output.says("fail", "stats").startswith(expected)


def test_losses_and_errors_in_the_report_are_shown(
    start_backend: StartBackend, guard_agent: Command
) -> None:
    backend = start_backend()
    backend.answers["/api/v1/status"] = Answer(200, body=REPORT)
    output = guard_agent("stats", "--endpoint", backend.url, GUARD_AGENT_INSTALL_ID="shop-1")
    assert output.code == 0
    assert output.says("warn", "agent") == (
        "degraded at 2026-11-22T12:00:00Z, process 7 on shop, up 61 s - backend answered 503"
    )
    expected = "9 accepted: 5 delivered, 1 queued, 0 spooled, dropped: 2 queue_full, 1 rejected"
    assert output.says("warn", "records") == expected


REPORT = """{"status": "ok", "report":
    {"install_id": "shop-1", "received_at": "2026-11-22T12:00:00Z", "status": {
        "status": "degraded", "uptime": 61.2, "pid": 7, "hostname": "shop",
        "errors": ["backend answered 503"],
        "ledger": {"accepted": 9, "delivered": 5, "queued": 1, "spooled": 0,
                   "dropped": {"queue_full": 2, "rejected": 1, "stopped": 0}}}}
}"""


def test_a_backend_without_reports_is_reported(
    start_backend: StartBackend, guard_agent: Command
) -> None:
    output = guard_agent("stats", "--endpoint", start_backend().url)
    assert output.code == 1
    expected = "this backend does not say what agents reported (it answers 404) - ask guard-server"
    assert output.says("fail", "stats").startswith(expected)


def test_a_wrong_key_is_reported(server: GuardServer, guard_agent: Command) -> None:
    key = "fg_not_the_right_one"
    output = guard_agent("stats", "--endpoint", server.url, GUARD_AGENT_API_KEY=key)
    assert output.code == 1
    assert output.says("fail", "key").startswith("the backend refuses it with 401")


def test_an_unknown_host_is_reported(guard_agent: Command) -> None:
    output = guard_agent("stats", "--endpoint", "https://guard.invalid")
    assert output.code == 1
    assert output.says("fail", "dns").startswith("guard.invalid is unknown: ")
