"""How long a flush keeps the event loop from other work: python stall.py SINK EVENTS.

A task asks to be woken every millisecond; its longest lateness is the longest
time that a request would have waited.
"""

import asyncio
import json
import sys
import time

from subject import deliver, make_agent, make_event

TICK = 0.001


async def longest_lateness(stopped: asyncio.Event) -> float:
    longest = 0.0
    while not stopped.is_set():
        asleep = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - asleep - TICK)
    return longest


async def measure(sink: str, events: int) -> dict[str, float]:
    agent = make_agent(sink, capacity=2 * events)
    await agent.start()
    for index in range(events):
        await agent.send_event(make_event(index))

    stopped = asyncio.Event()
    ticker = asyncio.create_task(longest_lateness(stopped))
    await asyncio.sleep(0.5)
    stopped.set()
    idle = await ticker

    stopped.clear()
    ticker = asyncio.create_task(longest_lateness(stopped))
    await asyncio.sleep(TICK)
    begun = time.perf_counter()
    await deliver(agent, sink, events)
    flush = time.perf_counter() - begun
    stopped.set()
    stall = await ticker

    await agent.stop()
    return {"idle_stall_ms": idle * 1e3, "stall_ms": stall * 1e3, "flush_ms": flush * 1e3}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
