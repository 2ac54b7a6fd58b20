"""The agent's integration with guard-core, which is not imported here.

New rules apply at once, not at the next poll. guard-core's DynamicRuleManager, one per process,
asks the agent for rules every minute or less often. Its `update_rules` does the same at any time:
it asks, and applies rules whose version is higher than the current one.

A guard's `agent_stats` keeps working. From the first request on, it calls `get_stats()` on
guard-core's composite handler. guard-core up to at least 4.4 lacks that method, so it is added.
"""

import asyncio
import logging
import sys
from typing import Any

_logger = logging.getLogger("guard_agent")

_ASYNCHRONOUS = "guard_core.handlers.dynamic_rule_handler"
_SYNCHRONOUS = "guard_core.sync.handlers.dynamic_rule_handler"

_COMPOSITES = (
    "guard_core.core.events.composite_handler",
    "guard_core.sync.core.events.composite_handler",
)

_updates: set[asyncio.Task[None]] = set()


def update() -> None:
    """Makes the managers of this process update, if there are any; imports nothing.

    Called in an agent thread. A synchronous manager updates in that thread; an asynchronous one
    in the event loop that runs its polls.
    """
    manager = _manager(_ASYNCHRONOUS)
    polls = getattr(manager, "update_task", None)
    if isinstance(polls, asyncio.Task):
        try:
            polls.get_loop().call_soon_threadsafe(_start, manager)
        except RuntimeError:
            _logger.debug("The event loop of guard-core is closed")
    manager = _manager(_SYNCHRONOUS)
    # In a forked child the manager exists, but its polling thread does not.
    if getattr(manager, "update_task", None) is not None:
        try:
            manager.update_rules()
        except Exception:
            _logger.exception("guard-core could not update its rules; it will at its next poll")


def complete_composites() -> None:
    """Adds the missing `get_stats` to guard-core's composite handlers."""
    for module in _COMPOSITES:
        composite = getattr(sys.modules.get(module), "CompositeAgentHandler", None)
        if composite is not None and not hasattr(composite, "get_stats"):
            composite.get_stats = _stats_of_first


def _stats_of_first(composite: Any) -> dict[str, Any]:
    """Returns the agent's statistics: those of the first handler that has any."""
    answering = (handler for handler in composite._handlers if hasattr(handler, "get_stats"))
    return next((handler.get_stats() for handler in answering), {})


def _manager(module: str) -> Any:
    manager_class = getattr(sys.modules.get(module), "DynamicRuleManager", None)
    return getattr(manager_class, "_instance", None)


def _start(manager: Any) -> None:
    task = asyncio.get_running_loop().create_task(manager.update_rules())
    _updates.add(task)
    task.add_done_callback(_updates.discard)
