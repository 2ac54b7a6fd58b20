"""An event loop that ends in the moment in which another thread hands it something to do."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from typing import Any

from support.process import PATIENCE_SECONDS


def never_awaited(start: Callable[[], Any]) -> list[str]:
    """Runs a loop in which `start` is called, and that ends before it begins what it is handed.

    Returns what Python warns of: coroutines that were never awaited.
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
