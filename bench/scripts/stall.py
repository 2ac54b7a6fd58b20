"""Measures how long reporting blocks the event loop: python stall.py SINK EVENTS.

A task wakes up every millisecond. Its longest delay is the longest time that a request would have
waited. The task runs from the first event until the sink has received all of them, whenever an
agent chooses to deliver.
"""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any

from subject import deliver, make_agent, make_event

TICK = 0.001
IDLE = 0.5

# The number of events sent before other tasks get their turn.
BURST = 10


async def longest_lateness(stopped: asyncio.Event) -> float:
    longest = 0.0
    while not stopped.is_set():
        asleep = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - asleep - TICK)
    return longest


async def lateness_during(work: Coroutine[Any, Any, None]) -> float:
    stopped = asyncio.Event()
    ticker = asyncio.create_task(longest_lateness(stopped))
    await work
    stopped.set()
    return await ticker


async def measure(sink: str, events: int) -> dict[str, float]:
    agent = make_agent(sink, capacity=2 * events)
    await agent.start()
    built = [make_event(index) for index in range(events)]

    async def report() -> None:
        for index, event in enumerate(built):
            await agent.send_event(event)
            if index % BURST == 0:
                await asyncio.sleep(0)
        await deliver(agent, sink, events)

    idle = await lateness_during(asyncio.sleep(IDLE))
    begun = time.perf_counter()
    stall = await lateness_during(report())
    delivered = time.perf_counter() - begun

    await agent.stop()
    return {"idle_ms": idle * 1e3, "stall_ms": stall * 1e3, "delivered_ms": delivered * 1e3}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
