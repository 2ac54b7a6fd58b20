"""Event loops for the parts that a program supplies."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from guard_agent import _native
from guard_agent._greenlets import Lock, start_thread

_logger = logging.getLogger("guard_agent")

T = TypeVar("T")


class LoopThread:
    """An event loop in a dedicated thread: code that hangs there blocks nothing else.

    The thread creates the loop, because under gevent a selector belongs to the thread that made it.

    Attributes:
        loop: Runs until `close`. Use it only in its thread.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        name: str,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self._make_loop = make_loop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inbox = _native.Mailbox()
        self._lock = Lock()
        self._is_closed = False
        start_thread(self._run, name)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Starts a task. Call it in the loop."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def post(self, work: Callable[[], object]) -> bool:
        """Runs `work` in the loop, from another thread; returns false if that is impossible."""
        with self._lock:
            return not self._is_closed and self._inbox.put(work)

    async def run(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs work here on behalf of another event loop.

        Raises:
            RuntimeError: This loop was closed meanwhile.
        """
        asking = asyncio.get_running_loop()
        answer: asyncio.Future[T] = asking.create_future()
        tasks: list[asyncio.Task[T]] = []

        def settle(task: "asyncio.Task[T]") -> None:
            # The calling loop may have ended.
            with contextlib.suppress(RuntimeError):
                asking.call_soon_threadsafe(_copy, task, answer)

        def start() -> None:
            tasks.append(self.loop.create_task(begin()))
            tasks[0].add_done_callback(settle)

        if not self.post(start):
            raise RuntimeError("closed meanwhile")
        try:
            return await answer
        finally:
            self.post(lambda: [task.cancel() for task in tasks])

    def close(self) -> None:
        """Ends the thread and cancels running tasks."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(lambda: self.loop.stop())

    def _take(self) -> None:
        for work in self._inbox.take():
            work()

    def _run(self) -> None:
        self.loop = self._make_loop()
        self.loop.add_reader(self._inbox.fileno(), self._take)
        while True:
            try:
                self.loop.run_forever()
                break
            except BaseException:
                # For example a SystemExit raised by the program, which asyncio propagates.
                _logger.exception("An event loop of the agent goes on after what came out of it")
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()


def _copy(task: "asyncio.Task[T]", answer: "asyncio.Future[T]") -> None:
    if answer.done():
        return
    if task.cancelled():
        answer.set_exception(RuntimeError("closed meanwhile"))
    elif error := task.exception():
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


async def within(seconds: float, answer: Any) -> Any:
    """Returns the result of a part's method, which may be a plain function.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    return await asyncio.wait_for(answer, seconds) if inspect.isawaitable(answer) else answer
