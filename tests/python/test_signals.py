"""Signals while a synchronous call waits for a backend that never answers."""

import signal
import subprocess
import sys
import textwrap

import pytest
from support.process import PATIENCE_SECONDS
from support.silence import heard_backend

PROGRAM = """
    import asyncio, signal, sys
    from guard_agent import AgentConfig, HTTPTransport, SyncGuardAgentHandler
    from guard_agent import SecurityEvent, get_current_timestamp

    agent = SyncGuardAgentHandler(AgentConfig(
        api_key="an-api-key-for-tests", endpoint=sys.argv[1], flush_interval=3600, timeout=3600,
    ))
    event = SecurityEvent(timestamp=get_current_timestamp(), event_type="ip_banned")

    def fill(agent):
        limits = {"buffer_overflow_policy": "block", "max_buffered": 1}
        SyncGuardAgentHandler(agent.config.model_copy(update=limits))
        agent.send_event(event)

    def transport(call, *arguments):
        asked = getattr(HTTPTransport(agent.config), call)(*arguments)
        # Outside of an event loop the work is done at the first step.
        asked.send(None)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
"""

POSTS, RULES = "/api/v1/events", "/api/v1/rules"
INTERRUPTED, TERMINATED = (signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)
# Each call, its request to the backend, the signal that arrives then, and the exit code.
WAITS = [
    ("agent.send_event(event); agent.flush_buffer()", POSTS, *INTERRUPTED),
    ("agent.send_event(event); agent.stop()", POSTS, *TERMINATED),
    ("fill(agent); agent.send_event(event)", POSTS, *INTERRUPTED),
    ("agent.get_dynamic_rules()", RULES, *INTERRUPTED),
    ("agent.get_dynamic_rules()", RULES, *TERMINATED),
    ("transport('send_events', [event])", POSTS, *INTERRUPTED),
    ("transport('fetch_dynamic_rules')", RULES, *TERMINATED),
]


@pytest.mark.parametrize(("call", "path", "number", "code"), WAITS)
def test_a_signal_ends_a_wait_and_the_process(
    call: str, path: str, number: signal.Signals, code: int
) -> None:
    program = textwrap.dedent(PROGRAM) + f"\n{call}\nprint('waited to the end')"
    with (
        heard_backend() as backend,
        subprocess.Popen(
            [sys.executable, "-c", program, backend.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child,
    ):
        backend.wait_for(path)
        child.send_signal(number)
        try:
            output, _ = child.communicate(timeout=PATIENCE_SECONDS)
        finally:
            child.kill()
    assert (child.returncode, output) == (code, "")
