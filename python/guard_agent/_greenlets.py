"""Threads in programs where gevent or eventlet has replaced them with greenlets.

The agent's threads stay system threads, whatever was patched. A greenlet that waits for one lets
the others run. The program's callbacks run in greenlets if the program uses them: under monkey
patching, locks, queues and logging work only there. This module imports neither library.
"""

import _thread
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

from guard_agent import _native

T = TypeVar("T")


class _Gevent:
    """gevent, if the program has imported it."""

    def __init__(self) -> None:
        self._gevent: Any = sys.modules["gevent"]
        self._monkey: Any = sys.modules.get("gevent.monkey")

    def replaces_threads(self) -> bool:
        return self._monkey is not None and bool(self._monkey.is_module_patched("threading"))

    def has_others(self) -> bool:
        """Returns whether other greenlets of this thread can run while this one waits."""
        hub = sys.modules["gevent._hub_local"].get_hub_if_exists()
        return hub is not None and self._gevent.getcurrent() is not hub

    def wait_readable(self, fileno: int) -> None:
        sys.modules["gevent.socket"].wait_read(fileno)

    def listen(self, fileno: int, heard: Callable[[], None]) -> object:
        """Calls `heard` whenever there is data to read. Does not keep the program alive."""
        watcher = self._gevent.get_hub().loop.io(fileno, 1, ref=False)
        watcher.start(heard)
        return watcher

    def spawn(self, work: Callable[[], object]) -> None:
        self._gevent.spawn(work)

    def start_thread(self, work: Callable[[], object]) -> None:
        self._monkey.get_original("_thread", "start_new_thread")(work, ())

    def new_lock(self) -> Any:
        return self._monkey.get_original("_thread", "allocate_lock")()


class _Eventlet:
    """eventlet, if the program has imported it."""

    def __init__(self) -> None:
        self._eventlet: Any = sys.modules["eventlet"]
        self._patcher: Any = sys.modules["eventlet.patcher"]
        self._hubs: Any = sys.modules["eventlet.hubs"]

    def replaces_threads(self) -> bool:
        return bool(self._patcher.is_monkey_patched("thread"))

    def has_others(self) -> bool:
        """Returns whether other greenlets of this thread can run while this one waits."""
        hub = getattr(self._hubs._threadlocal, "hub", None)
        return hub is not None and self._eventlet.getcurrent() is not hub.greenlet

    def wait_readable(self, fileno: int) -> None:
        self._hubs.trampoline(fileno, read=True)

    def listen(self, fileno: int, heard: Callable[[], None]) -> object:
        """Calls `heard` whenever there is data to read."""

        def listen() -> None:
            while True:
                self._hubs.trampoline(fileno, read=True)
                heard()

        return self._eventlet.spawn(listen)

    def spawn(self, work: Callable[[], object]) -> None:
        self._eventlet.spawn_n(work)

    def start_thread(self, work: Callable[[], object]) -> None:
        self._patcher.original("_thread").start_new_thread(work, ())

    def new_lock(self) -> Any:
        return self._patcher.original("_thread").allocate_lock()


def _libraries() -> "list[_Gevent | _Eventlet]":
    """Returns the libraries that the program has imported completely."""
    found: list[_Gevent | _Eventlet] = []
    for name, library in (("gevent.socket", _Gevent), ("eventlet.hubs", _Eventlet)):
        if name in sys.modules:
            with suppress(KeyError):
                found.append(library())
    return found


def _replacing() -> "_Gevent | _Eventlet | None":
    return next((each for each in _libraries() if each.replaces_threads()), None)


def start_thread(work: Callable[[], object], name: str) -> None:
    """Starts a daemon system thread.

    Raises:
        RuntimeError: The interpreter is shutting down, or the system has no thread left.
    """
    library = _replacing()
    if library is None:
        threading.Thread(target=work, name=name, daemon=True).start()
    else:
        library.start_thread(work)


def _new_lock() -> Any:
    library = _replacing()
    return _thread.allocate_lock() if library is None else library.new_lock()


class Lock:
    """A system-thread lock that is free again in a forked child.

    The thread that held it in the parent does not exist in the child.
    """

    def __init__(self) -> None:
        self._locks = {_native.generation(): _new_lock()}

    def __enter__(self) -> None:
        lock = self._own()
        if not lock.acquire(blocking=False):
            wait_for(lock.acquire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._own().release()

    def _own(self) -> Any:
        generation = _native.generation()
        lock = self._locks.get(generation)
        return lock or self._locks.setdefault(generation, _new_lock())


class Outcome(Generic[T]):
    """The result of a thread's work, for another thread that waits for it."""

    def __init__(self) -> None:
        self._settled = _new_lock()
        self._settled.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, work: Callable[[], T]) -> None:
        """Runs `work` and stores its result or error."""
        try:
            self._value = work()
        except BaseException as error:
            self._error = error
        self._settled.release()

    async def follow(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Awaits a coroutine and stores its result or error."""
        try:
            value = await begin()
        except Exception as error:
            self._error = error
            self._settled.release()
        else:
            self.run(lambda: value)

    def wait(self, seconds: float) -> bool:
        """Returns whether the result arrived within `seconds`."""
        return bool(self._settled.acquire(timeout=seconds))

    def get(self) -> T:
        """Returns the result of the work, or raises its error."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def wait_for(work: Callable[[], T]) -> T:
    """Runs blocking `work`, in another thread if greenlets of this one can run meanwhile."""
    library = next((each for each in _libraries() if each.has_others()), None)
    if library is None:
        return work()
    outcome: Outcome[T] = Outcome()
    bell = _native.Mailbox()

    def run() -> None:
        outcome.run(work)
        bell.put(None)

    try:
        start_thread(run, "guard-call")
    except RuntimeError:
        return work()
    library.wait_readable(bell.fileno())
    return outcome.get()


class _Callbacks:
    """Runs the program's callbacks: in greenlets if the program uses them, else in threads."""

    def __init__(self) -> None:
        self._generation: int | None = None
        self._library: _Gevent | _Eventlet | None = None
        self._box = _native.Mailbox()
        self._listener: object = None

    def meet(self) -> None:
        """Runs the callbacks in greenlets of this thread, if the program has replaced threads."""
        library = _replacing()
        if library is None or self._generation == _native.generation():
            return
        self._generation = _native.generation()
        self._library, self._box = library, _native.Mailbox()
        self._listener = library.listen(self._box.fileno(), self._spawn_all)

    def call(self, work: Callable[[], object]) -> None:
        """Runs `work` on behalf of an agent thread: here, or in a greenlet."""
        if not self._put(work):
            work()

    def start(self, work: Callable[[], object], name: str) -> None:
        """Runs `work` that may block: in a dedicated thread, or in a greenlet.

        Raises:
            RuntimeError: No thread can be started any more.
        """
        if not self._put(work):
            start_thread(work, name)

    def run_waiting(self) -> None:
        """Runs the waiting work here: there may be no time left for a greenlet to do it."""
        for work in self._box.take():
            work()

    def _put(self, work: Callable[[], object]) -> bool:
        """Leaves `work` to a greenlet; returns false if there is none to do it."""
        return self._generation == _native.generation() and self._box.put(work)

    def _spawn_all(self) -> None:
        for work in self._box.take():
            if self._library is not None:
                self._library.spawn(work)


callbacks = _Callbacks()
