"""Return values of the asynchronous handlers."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from guard_agent._greenlets import wait_for
from guard_agent._home import Awaited, home
from guard_agent._native import Ready

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Pending(Coroutine[Any, Any, T_co]):
    """A coroutine around work that is already running, whether awaited or not."""

    def __init__(self, work: Awaited[T_co]) -> None:
        """Wraps running work."""
        self._steps = work.__await__()

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Waits for the work."""
        return self._steps

    def send(self, value: Any, /) -> Any:
        """Continues to wait."""
        return self._steps.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        """Stops waiting; the work continues."""
        if val is None and tb is None:
            return self._steps.throw(typ)
        return self._steps.throw(typ, val, tb)

    def close(self) -> None:
        """Stops waiting; the work continues."""
        self._steps.close()


def in_background(work: Callable[[], T]) -> Coroutine[Any, Any, T]:
    """Runs blocking `work` without blocking a running event loop, asyncio's or trio's.

    Inside a loop, the work starts at once in a dedicated thread. That thread uses no place in the
    loop's thread pool and does not keep the process alive. Outside a loop, the work is done before
    this returns, while other greenlets run. The same holds during interpreter shutdown, when no
    thread can start any more.
    """
    where = home()
    if where is None:
        return Ready(wait_for(work))
    try:
        return Pending(where.in_thread(work))
    except RuntimeError:
        return Ready(work())
