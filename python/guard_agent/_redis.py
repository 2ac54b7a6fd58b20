"""Redis behind the handler that a guard brings along, at work for the agent's journal."""

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

# The journal waits no longer for one call.
_CALL_SECONDS = 5.0

# How often to look whether the event loop that a call waits for was closed.
_LOOK_SECONDS = 0.05

# Of what an exception says, characters that are passed on.
_MAX_WORDS = 300

# What stands before an @ in a URL is a user and a password.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


class _ResolvingLoop(asyncio.SelectorEventLoop):
    """Looks up names by itself: at the end of the process no other thread may be started for it."""

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
    """Carries out the journal's calls by a handler.

    A handler whose methods are coroutines is bound to the event loop that it was handed over in,
    as its connections are: its calls run there, until that loop is closed. Any other one is called
    in a thread of this object's own, and holds up nothing but that. Without a handler all calls
    fail at once: what the journal has in Redis stays there until there is one again.

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
        """Has `handler` carry out the calls from now on; to be called where it is at home."""
        try:
            home = asyncio.get_running_loop() if handler is not None else None
        except RuntimeError:
            home = None
        self._served_by = (handler, home)

    def for_child(self) -> "RedisLoop | None":
        """The same for the child of a fork.

        Nothing for a handler that is bound to an event loop: its connections are the parent's.
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
            # The agent warns, once a minute; this is for whoever looks for the line of code.
            _logger.debug("The Redis handler raised", exc_info=True)
            why = _CREDENTIALS.sub("//", repr(error))
            call.fail(f"the Redis handler's {call.name} raised {why:.{_MAX_WORDS}}")

    async def _carry_out(self, call: _native.Call) -> list[Any]:
        handler, home = self._served_by
        if handler is None:
            raise LookupError("there is none any more; assign redis_handler to save records again")
        if home is not None and home.is_closed():
            # Nobody else uses it any more. Its connections have died with the loop.
            await _awaited(handler.initialize())
            home = None
            self._served_by = (handler, home)
        method = getattr(handler, call.name)
        first, *others = call.arguments
        if inspect.iscoroutinefunction(method):
            # Called where it is awaited: nothing is left over where it does not come to that.
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
    """The event loop was closed before it came to the work."""


async def _run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Has `work` done in an event loop of another thread, which may be closed at any time.

    Raises:
        _NotBegunError: Nothing was done.
        RuntimeError: The loop was closed meanwhile.
    """
    future = None
    with suppress(RuntimeError):
        # Raised where it was closed just now.
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
