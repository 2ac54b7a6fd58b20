"""Measures the cost of an event: python send.py SINK EVENTS hold|default.

The first figures are CPU time of the calling thread; under `hold` the agent sends nothing
meanwhile. The last figure is CPU time of the whole process until the sink has received all events.
"""

import asyncio
import json
import sys
import time

from subject import deliver, make_agent, make_event


async def measure(sink: str, events: int, *, holds: bool) -> dict[str, float]:
    agent = make_agent(sink, capacity=2 * events, holds=holds)
    await agent.start()

    process_begun, begun = time.process_time(), time.thread_time()
    for index in range(events):
        await agent.send_event(make_event(index))
    build_and_send = time.thread_time() - begun
    await deliver(agent, sink, events)
    delivered = time.process_time() - process_begun

    built = [make_event(index) for index in range(events)]
    begun = time.thread_time()
    for event in built:
        await agent.send_event(event)
    send = time.thread_time() - begun
    await deliver(agent, sink, 2 * events)

    await agent.stop()
    return {
        "build_and_send_us": build_and_send / events * 1e6,
        "send_us": send / events * 1e6,
        "delivered_cpu_us": delivered / events * 1e6,
    }


if __name__ == "__main__":
    print(
        json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), holds=sys.argv[3] == "hold")))
    )
