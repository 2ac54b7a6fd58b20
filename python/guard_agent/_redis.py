"""Serves the agent's journal through the Redis handler that a guard supplies."""

import asyncio
import inspect
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from guard_agent import _native
from guard_agent._loop import LoopThread
from guard_agent.protocols import RedisHandlerProtocol

_logger = logging.getLogger("guard_agent")

T = TypeVar("T")

# The time limit of one call by the journal.
_CALL_SECONDS = 5.0

# The interval for checking whether the event loop that a call waits for was closed.
_LOOK_SECONDS = 0.05

# The maximum number of characters passed on from an exception's text.
_MAX_WORDS = 300

# The part of a URL before an @ is the user and password.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


class _ResolvingLoop(asyncio.SelectorEventLoop):
    """Resolves names in its own thread: at process exit no other thread can be started for it."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        return socket.getaddrinfo(host, port, family, type, proto, flags)


class RedisLoop:
    """Runs the journal's calls through a handler.

    A handler with coroutine methods is bound to the event loop in which it was supplied, as its
    connections are. Its calls run there until that loop is closed. Any other handler is called in
    this object's own thread and blocks nothing else. Without a handler all calls fail at once: the
    journal's records in Redis stay there until a new handler is set.

    Args:
        handler: Has the methods of `RedisHandlerProtocol`, as coroutines or plain functions.
    """

    def __init__(self, handler: RedisHandlerProtocol) -> None:
        self.calls = _native.Calls()
        self.use(handler)
        self._thread = LoopThread("guard-redis", _ResolvingLoop)
        self._thread.post(self._listen)

    def _listen(self) -> None:
        self._thread.loop.add_reader(self.calls.fileno(), self._take)

    def use(self, handler: RedisHandlerProtocol | None) -> None:
        """Uses `handler` for calls from now on. Call this in the handler's event loop."""
        try:
            home = asyncio.get_running_loop() if handler is not None else None
        except RuntimeError:
            home = None
        self._served_by = (handler, home)

    def for_child(self) -> "RedisLoop | None":
        """Returns the equivalent object for a forked child.

        Returns None for a handler that is bound to an event loop: its connections are the parent's.
        """
        handler, home = self._served_by
        if handler is None:
            return None
        if home is None:
            return RedisLoop(handler)
        _logger.info(
            "The parent's Redis handler is not used in the child of a fork; records are kept in "
            "memory only until initialize_redis is called there."
        )
        return None

    @property
    def handler(self) -> RedisHandlerProtocol | None:
        return self._served_by[0]

    def _take(self) -> None:
        for call in self.calls.take():
            self._thread.spawn(self._answer(call))

    async def _answer(self, call: _native.Call) -> None:
        try:
            call.succeed(await asyncio.wait_for(self._carry_out(call), _CALL_SECONDS))
        except asyncio.CancelledError:
            call.fail(f"the Redis handler's {call.name} was cancelled: an event loop ended")
            raise
        except asyncio.TimeoutError:
            call.fail(f"the Redis handler's {call.name} took longer than {_CALL_SECONDS} s")
        except Exception as error:
            # The agent logs one warning per minute. This debug line shows the traceback.
            _logger.debug("The Redis handler raised", exc_info=True)
            why = _CREDENTIALS.sub("//", repr(error))
            call.fail(f"the Redis handler's {call.name} raised {why:.{_MAX_WORDS}}")

    async def _carry_out(self, call: _native.Call) -> list[Any]:
        handler, home = self._served_by
        if handler is None:
            raise LookupError("there is none any more; assign redis_handler to save records again")
        if home is not None and home.is_closed():
            # Nothing else uses the handler any more, and its connections ended with the loop.
            await _awaited(handler.initialize())
            home = None
            self._served_by = (handler, home)
        method = getattr(handler, call.name)
        first, *others = call.arguments
        if inspect.iscoroutinefunction(method):
            # Call it where it is awaited: if that never happens, no unawaited coroutine remains.
            begin: Callable[[], Awaitable[Any]] = partial(method, *first)
        else:
            answer = method(*first)
            if not inspect.isawaitable(answer):
                return [answer, *(method(*arguments) for arguments in others)]

            def begin() -> Awaitable[Any]:
                return answer

        async def work() -> list[Any]:
            return [await begin()] + [await method(*arguments) for arguments in others]

        if home is None:
            return await work()
        try:
            return await _run_in(home, work())
        except _NotBegunError:
            return await self._carry_out(call)


class _NotBegunError(Exception):
    """The event loop was closed before the work started."""


async def _run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` in another thread's event loop, which may close at any time.

    Raises:
        _NotBegunError: The work did not start.
        RuntimeError: The loop was closed meanwhile.
    """
    future = None
    with suppress(RuntimeError):
        # Raised if the loop was closed just now.
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    while future is not None:
        if (await asyncio.wait({future}, timeout=_LOOK_SECONDS))[0]:
            return await future
        if loop.is_closed():
            future.cancel()
            break
    if inspect.getcoroutinestate(work) != inspect.CORO_CREATED:
        raise RuntimeError("the event loop was closed meanwhile")
    work.close()
    raise _NotBegunError


async def _awaited(answer: Awaitable[Any] | Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer
