"""Proxies from the environment, on the way to the backend.

Private authorities, together with a proxy for https, are in tests/cli/test_event.py and
tests/quickstart/test_program.py.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.backend import Backend
from support.process import PATIENCE_SECONDS
from support.relay import Relay

PROGRAM = """
import logging, sys
logging.basicConfig()
from guard_agent import AgentConfig, SyncGuardAgentHandler, get_current_timestamp
agent = SyncGuardAgentHandler(AgentConfig(
    api_key="an-api-key-for-tests", endpoint=sys.argv[1], flush_interval=3600, install_id="x",
    retry_attempts=0,
))
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
agent.stop()
"""
# A discard port of this machine, where nothing answers.
NOWHERE = "127.0.0.1:9"
PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def run(endpoint: str, **environment: str) -> str:
    """The output of a program that sends one event."""
    clean = {name: text for name, text in os.environ.items() if name.lower() not in PROXY_VARIABLES}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, endpoint],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return ended.stderr


@contextmanager
def proxy(backend: Backend) -> Iterator[Relay]:
    relay = Relay(backend.url)
    yield relay
    relay.stop()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_environment_proxy_is_used(backend: Backend, variable: str) -> None:
    with proxy(backend) as relay:
        url = relay.url.replace("http://", "http://user:s3cret@")
        assert run("http://guard.invalid", **{variable: url}) == ""
        (exchange,) = relay.batches()
        assert exchange.headers["host"] == "guard.invalid"
        assert exchange.headers["proxy-authorization"].startswith("Basic ")
    assert len(backend.events) == 1


def test_no_proxy_hosts_are_reached_directly(backend: Backend) -> None:
    said = run(backend.url, HTTP_PROXY=f"http://{NOWHERE}", NO_PROXY="127.0.0.1")
    assert (said, len(backend.events)) == ("", 1)


def test_an_unreachable_proxy_is_logged_without_its_password(backend: Backend) -> None:
    said = run(backend.url, HTTP_PROXY=f"http://user:s3cret@{NOWHERE}")
    assert "backend unreachable (no connection" in said
    assert "s3cret" not in said
    assert backend.received == []
