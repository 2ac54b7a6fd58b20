"""guard-agent send-test-event, against a real server."""

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support.certificates import Authority
from support.gateway import Gateway
from support.guard_server import GuardServer

from cli.output import Output

Command = Callable[..., Output]


def test_the_event_is_stored_and_can_be_found_by_its_key(
    server: GuardServer, guard_agent: Command
) -> None:
    output = guard_agent("send-test-event", "--endpoint", server.url)

    assert output.code == 0, output.text
    [event] = server.records("events")
    key = event["idempotency_key"]
    assert output.says("ok", "test event") == f"delivered to {server.url}, idempotency key {key}"
    assert event["event_type"] == "agent_test"
    assert event["reason"] == "sent by guard-agent send-test-event"
    assert output.errors == ""


def test_the_command_leaves_no_agent_behind(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("send-test-event", "--endpoint", server.url)
    assert output.code == 0, output.text
    assert server.counts("events") == {"agent_test": 1}
    assert server.summary()["agents"] == []


def test_the_event_uses_the_agents_proxy_and_tls(
    server: GuardServer, authority: Authority, guard_agent: Command, cleanup: ExitStack
) -> None:
    gateway = Gateway(server.url, authority.issue("api.fastapi-guard.com"))
    cleanup.callback(gateway.stop)
    roots = str(authority.certificate)
    output = guard_agent("send-test-event", HTTPS_PROXY=gateway.url, SSL_CERT_FILE=roots)
    assert output.code == 0, output.text
    assert server.counts("events") == {"agent_test": 1}


def test_a_wrong_key_is_reported(server: GuardServer, guard_agent: Command) -> None:
    key = "fg_not_the_right_one"
    output = guard_agent("send-test-event", "--endpoint", server.url, GUARD_AGENT_API_KEY=key)
    assert output.code == 1
    assert output.says("fail", "test event") == (
        'not delivered: backend answered 401: "Unknown API key"; check api_key, project_id and '
        "payload_signing_secret - see guard-agent doctor"
    )
    assert key not in output.text + output.errors


def test_a_closed_port_is_reported(guard_agent: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    output = guard_agent("send-test-event", "--endpoint", f"http://127.0.0.1:{port}")
    assert output.code == 1
    assert output.says("fail", "test event").startswith("not delivered: backend unreachable (")


def test_disabled_events_are_reported(guard_agent: Command) -> None:
    output = guard_agent("send-test-event", GUARD_AGENT_ENABLE_EVENTS="false")
    assert output.code == 1
    expected = "events are switched off - unset GUARD_AGENT_ENABLE_EVENTS"
    assert output.says("fail", "test event") == expected


@pytest.mark.parametrize("command", ["send-test-event", "stats"])
def test_an_invalid_configuration_is_reported(guard_agent: Command, command: str) -> None:
    output = guard_agent(command, GUARD_AGENT_API_KEY="")
    assert output.code == 1
    assert output.says("fail", "configuration").startswith("api_key is not given")
