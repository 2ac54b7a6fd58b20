"""The event loop that a call comes from: asyncio's or trio's. trio is not imported here."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from guard_agent._greenlets import Outcome, start_thread

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Start = Callable[[], Coroutine[Any, Any, None]]


class Awaited(Protocol[T_co]):
    """A result that can be awaited in the event loop it belongs to."""

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Waits for the result."""


class Home(Protocol):
    """A running event loop."""

    def in_thread(self, work: Callable[[], T]) -> Awaited[T]:
        """Starts `work` in a dedicated thread at once; awaiting the return value gives its result.

        Raises:
            RuntimeError: No thread can be started any more.
        """

    def task(self, begin: Start) -> Awaited[None]:
        """Starts a task, from within the loop."""

    def start(self, begin: Start) -> None:
        """Starts a task from any thread. Does nothing if the loop has ended."""


def home() -> Home | None:
    """Returns the event loop that runs in this thread, or None."""
    trio = sys.modules.get("trio")
    if trio is not None:
        # In guest mode trio runs inside asyncio, so check trio first.
        with suppress(AttributeError, RuntimeError):
            return _Trio(trio, trio.lowlevel.current_trio_token())
    try:
        return _Asyncio(asyncio.get_running_loop())
    except RuntimeError:
        return None


async def sleep(seconds: float) -> None:
    """Sleeps for `seconds` in the current event loop, asyncio's or trio's."""
    where = home()
    if isinstance(where, _Trio):
        await where.trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


class _Asyncio:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def in_thread(self, work: Callable[[], T]) -> Awaited[T]:
        future: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            settle: Callable[[], None]
            try:
                settle = partial(future.set_result, work())
            except BaseException as error:
                settle = partial(future.set_exception, error)
            # The loop is closed; there is nobody to notify.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: None if future.done() else settle())

        start_thread(run, "guard-call")
        return future

    def task(self, begin: Start) -> Awaited[None]:
        return self._loop.create_task(begin())

    def start(self, begin: Start) -> None:
        def run() -> None:
            task = self._loop.create_task(begin())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(run)


class _Trio:
    def __init__(self, trio: Any, token: Any) -> None:
        self.trio = trio
        self._token = token

    def in_thread(self, work: Callable[[], T]) -> Awaited[T]:
        answer = _TrioAnswer[T](self.trio.Event())

        def run() -> None:
            answer.outcome.run(work)
            self._call(answer.is_settled.set)

        start_thread(run, "guard-call")
        return answer

    def task(self, begin: Start) -> Awaited[None]:
        answer = _TrioAnswer[None](self.trio.Event())

        async def run() -> None:
            await answer.outcome.follow(begin)
            answer.is_settled.set()

        self.trio.lowlevel.spawn_system_task(run)
        return answer

    def start(self, begin: Start) -> None:
        self._call(partial(self.trio.lowlevel.spawn_system_task, begin))

    def _call(self, what: Callable[[], object]) -> None:
        with suppress(self.trio.RunFinishedError):
            self._token.run_sync_soon(what)


class _TrioAnswer(Awaited[T]):
    def __init__(self, is_settled: Any) -> None:
        self.is_settled = is_settled
        self.outcome: Outcome[T] = Outcome()

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self.is_settled.wait().__await__()
        return self.outcome.get()
