"""An event loop that ends at the moment when another thread schedules work in it."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from typing import Any

from support.process import PATIENCE_SECONDS


def never_awaited(start: Callable[[], Any]) -> list[str]:
    """Runs a loop that calls `start` and ends before it begins the work scheduled in it.

    Returns Python's warnings about coroutines that were never awaited.
    """

    async def program() -> None:
        loop: Any = asyncio.get_running_loop()
        handed_over = threading.Event()
        hand_over = loop.call_soon_threadsafe

        def note(*arguments: Any, **named: Any) -> Any:
            handle = hand_over(*arguments, **named)
            handed_over.set()
            return handle

        loop.call_soon_threadsafe = note
        start()
        assert handed_over.wait(PATIENCE_SECONDS)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(program())
        gc.collect()
    said = [str(warning.message) for warning in caught]
    return [message for message in said if "never awaited" in message]
