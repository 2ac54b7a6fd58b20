"""What the asynchronous handlers return."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from guard_agent._native import Ready

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Pending(Coroutine[Any, Any, T_co]):
    """A coroutine around a future whose work is under way, awaited or not."""

    def __init__(self, future: "asyncio.Future[T_co]") -> None:
        """Wraps the future."""
        self._steps = future.__await__()

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Waits for the future."""
        return self._steps

    def send(self, value: Any, /) -> Any:
        """Goes on waiting."""
        return self._steps.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        """Stops waiting; the work goes on."""
        if val is None and tb is None:
            return self._steps.throw(typ)
        return self._steps.throw(typ, val, tb)

    def close(self) -> None:
        """Stops waiting; the work goes on."""
        self._steps.close()


def in_background(work: Callable[[], T]) -> Coroutine[Any, Any, T]:
    """Does blocking `work` without blocking a running event loop.

    Inside a loop it starts in a thread of its own at once, which neither takes a place among the
    loop's other threads nor keeps the process from ending. Outside of a loop it is done before
    this returns, and so it is while the interpreter ends and starts no threads any more.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Ready(work())
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        settle: Callable[[], None]
        try:
            settle = partial(future.set_result, work())
        except BaseException as error:
            settle = partial(future.set_exception, error)
        # A loop that is closed wants to know nothing any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    try:
        threading.Thread(target=run, name="guard-call", daemon=True).start()
    except RuntimeError:
        return Ready(work())
    return Pending(future)
