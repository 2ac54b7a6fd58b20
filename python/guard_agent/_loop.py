"""Where the parts that programs bring along do their work."""

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own: what hangs there holds up nothing else.

    Attributes:
        loop: Runs from `start` to `close`.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        self._thread.start()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task; to be called in the loop, or before it runs."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Starts a task from another thread; one that is closed answers that it is cancelled."""
        with self._lock:
            if not self._is_closed:
                return asyncio.run_coroutine_threadsafe(work, self.loop)
        work.close()
        cancelled: concurrent.futures.Future[T] = concurrent.futures.Future()
        cancelled.cancel()
        return cancelled

    def close(self) -> None:
        """Ends the thread, which cancels what is under way."""
        with self._lock:
            self._is_closed = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        self.loop.run_forever()
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()


async def within(seconds: float, answer: Any) -> Any:
    """The answer of a part, which may have been written as a plain function.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    return await asyncio.wait_for(answer, seconds) if inspect.isawaitable(answer) else answer
