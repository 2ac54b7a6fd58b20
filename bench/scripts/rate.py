"""Measures how many events one process sends and delivers: python rate.py SINK EVENTS [SPOOL].

Sends events one after the other at full speed. Callers wait while the queue is full. Prints
events per second, from the first event until the sink has received all of them. SPOOL is a
directory that keeps records until they are delivered.
"""

import asyncio
import json
import sys
import time

from subject import deliver, make_event

from guard_agent.client import guard_agent
from guard_agent.models import AgentConfig

# Created in advance, so that the program measures only the agent's work.
BUILT = 1000


async def measure(sink: str, events: int, spool: str | None) -> dict[str, float]:
    agent = guard_agent(
        AgentConfig(
            api_key="benchmark-key-1234567890",
            project_id="benchmark",
            endpoint=sink,
            buffer_overflow_policy="block",
            max_buffered=100_000,
            spool_dir=spool,
        )
    )
    await agent.start()
    # Without an idempotency key: the agent assigns a new one to each event that it sends.
    built = [make_event(index).model_dump(exclude={"idempotency_key"}) for index in range(BUILT)]
    begun = time.perf_counter()
    for index in range(events):
        await agent.send_event(built[index % BUILT])
    await deliver(agent, sink, events)
    seconds = time.perf_counter() - begun
    await agent.stop()
    return {"events_per_second": events / seconds}


if __name__ == "__main__":
    sink, events, spool = (*sys.argv[1:], None)[:3]
    print(json.dumps(asyncio.run(measure(str(sink), int(events or 0), spool))))
