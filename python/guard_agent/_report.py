"""What the core has to say, passed on to the log and to `on_error`."""

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

# What `on_error` is called for; other troubles are logged only.
_ON_ERROR_STAGES = frozenset({"transport_send", "encryption", "flush_events", "flush_metrics"})

Report: TypeAlias = Callable[[int, str, str, int | None], None]
"""Takes a level, the stage, what happened, and how many records the batch has that it is about."""


def reporter(config: Callable[[], AgentConfig]) -> Report:
    """What the core calls, from a thread of its own; `config` is asked for `on_error`."""
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
                # An event loop runs in a thread of the system's: greenlets would all be in it.
                wait_for(lambda: asyncio.run(within(config().timeout, result)))
        except Exception:
            _logger.exception("on_error raised; the agent goes on")

    def report(level: int, stage: str, message: str, batch_size: int | None) -> None:
        callbacks.call(partial(tell, level, stage, message, batch_size))

    return report
