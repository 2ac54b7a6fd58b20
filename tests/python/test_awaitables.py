"""Return values of calls: finished or pending, but always a valid coroutine."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from support.process import PATIENCE_SECONDS

from guard_agent._native import Ready
from guard_agent.awaitables import in_background


@pytest.mark.parametrize("value", [None, 7, (1, 2), [], StopIteration(3)], ids=repr)
def test_ready_returns_its_value_however_it_is_run(value: Any) -> None:
    ready = Ready(value)

    async def program() -> list[Any]:
        return [
            await ready,
            await asyncio.create_task(ready),
            await asyncio.wait_for(ready, 60),
            *await asyncio.gather(ready),
        ]

    assert isinstance(ready, Coroutine)
    assert asyncio.run(program()) == [value] * 4
    assert asyncio.run(ready) is value


def test_a_task_of_ready_can_be_cancelled_before_it_starts() -> None:
    async def program() -> None:
        task: asyncio.Task[int] = asyncio.create_task(Ready(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())


@pytest.mark.parametrize(
    ("thrown", "args"),
    [((ValueError("x"),), ("x",)), ((ValueError, "x"), ("x",)), ((ValueError,), ())],
)
def test_ready_raises_what_is_thrown_into_it(
    thrown: tuple[Any, ...], args: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the error is looked at below
        Ready(None).throw(*thrown)
    assert caught.value.args == args


def test_pending_waits_without_blocking_and_returns_the_result() -> None:
    done = threading.Event()

    def work() -> int:
        done.wait()
        return 7

    async def program() -> int:
        pending = in_background(work)
        task = asyncio.create_task(pending)
        await asyncio.sleep(0)
        assert not task.done()
        done.set()
        return await task

    assert asyncio.run(program()) == 7


def test_pending_raises_what_the_work_raises() -> None:
    def work() -> None:
        raise OSError("no")

    async def program() -> None:
        with pytest.raises(OSError, match="no"):
            await in_background(work)

    asyncio.run(program())


def test_waiting_for_pending_can_be_cancelled_while_the_work_continues() -> None:
    release, finished = threading.Event(), threading.Event()

    def work() -> None:
        release.wait()
        finished.set()

    async def program() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_background(work), 0.01)
        release.set()

    asyncio.run(program())
    assert finished.wait(PATIENCE_SECONDS)
