from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.backend import Backend
from support.log import Log

from guard_agent import AgentConfig, _agent


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.fixture
def make_config(backend: Backend) -> Iterator[Callable[..., AgentConfig]]:
    """Configurations that send only on request, in a process without an agent yet."""

    def make(**fields: Any) -> AgentConfig:
        defaults: dict[str, Any] = {
            "api_key": "an-api-key-for-tests",
            "endpoint": backend.url,
            "flush_interval": 3600,
            "install_id": "test-install",
        }
        return AgentConfig(**(defaults | fields))

    yield make
    if _agent._agent is not None:
        _agent._agent.stop()
        _agent._agent.use_transport(None)
        _agent._agent.initialize_redis(None)
        _agent._agent.use_buffer(None)
        # The replaced buffer must not deliver to the next test's backend.
        _agent._agent.flush_buffer(1.5)
        _agent._agent = None


@pytest.fixture
def log() -> Iterator[Log]:
    with Log() as log:
        yield log
