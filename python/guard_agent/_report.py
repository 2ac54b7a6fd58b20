"""What the core has to say, passed on to the log and to `on_error`."""

import logging
from collections.abc import Callable
from functools import partial

from guard_agent._greenlets import callbacks
from guard_agent.config import AgentConfig
from guard_agent.exceptions import GuardAgentError

_logger = logging.getLogger("guard_agent")

# What `on_error` is called for; other troubles are logged only.
_ON_ERROR_STAGES = frozenset({"transport_send", "encryption", "flush_events", "flush_metrics"})


def reporter(config: Callable[[], AgentConfig]) -> Callable[[int, str, str], None]:
    """What the core calls, from a thread of its own; `config` is asked for `on_error`."""
    callbacks.meet()

    def tell(level: int, stage: str, message: str) -> None:
        _logger.log(level, "%s", message)
        on_error = config().on_error
        if on_error is None or level < logging.WARNING or stage not in _ON_ERROR_STAGES:
            return
        try:
            on_error(stage, GuardAgentError(message), {})
        except Exception:
            _logger.exception("on_error raised; the agent goes on")

    def report(level: int, stage: str, message: str) -> None:
        callbacks.call(partial(tell, level, stage, message))

    return report
