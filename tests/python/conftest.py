from collections.abc import Callable, Iterator
from typing import Any

import pytest
from backend import Backend
from log import Log

from guard_agent import AgentConfig, _agent


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.fixture
def make_config(backend: Backend) -> Callable[..., AgentConfig]:
    """A configuration that sends only when asked to."""

    def make(**fields: Any) -> AgentConfig:
        defaults = {
            "api_key": "an-api-key-for-tests",
            "endpoint": backend.url,
            "flush_interval": 3600,
            "install_id": "test-install",
        }
        return AgentConfig(**(defaults | fields))

    return make


@pytest.fixture
def log() -> Iterator[Log]:
    with Log() as log:
        yield log


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Each test starts as a process does: without an agent."""
    yield
    if _agent._agent is not None:
        _agent._agent.stop()
        _agent._agent = None
