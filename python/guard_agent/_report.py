"""Passes the core's reports to the log and to `on_error`."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from guard_agent._greenlets import callbacks, wait_for
from guard_agent._loop import within
from guard_agent.config import AgentConfig
from guard_agent.exceptions import GuardAgentError

_logger = logging.getLogger("guard_agent")

# The stages for which `on_error` is called; other problems are only logged.
_ON_ERROR_STAGES = frozenset({"transport_send", "encryption", "flush_events", "flush_metrics"})

Report: TypeAlias = Callable[[int, str, str, int | None], None]
"""Receives the level, the stage, the message, and the size of the affected batch."""


def reporter(config: Callable[[], AgentConfig]) -> Report:
    """Returns the function that the core calls for a report. `config` gives `on_error`."""
    callbacks.meet()

    def tell(level: int, stage: str, message: str, batch_size: int | None) -> None:
        _logger.log(level, "%s", message)
        on_error = config().on_error
        if on_error is None or level < logging.WARNING or stage not in _ON_ERROR_STAGES:
            return
        context = {} if batch_size is None else {"batch_size": batch_size}
        try:
            result = on_error(stage, GuardAgentError(message), context)
            if inspect.isawaitable(result):
                # The event loop runs in a system thread, because greenlets would share one thread.
                wait_for(lambda: asyncio.run(within(config().timeout, result)))
        except Exception:
            _logger.exception("on_error raised; the agent goes on")

    def report(level: int, stage: str, message: str, batch_size: int | None) -> None:
        callbacks.call(partial(tell, level, stage, message, batch_size))

    return report
