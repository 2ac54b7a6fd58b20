"""Measures the cost of sending during failures: python trouble.py ENDPOINT EVENTS full|default.

Sends at a steady pace during a network failure, beside a task that wakes up every millisecond.
Prints the time that `await send_event` took, and the longest delay of that task. Under `full`
the queue has room for 100 records.
"""

import asyncio
import json
import os
import sys
import time
from statistics import quantiles

from stall import TICK, lateness_during
from subject import make_event

from guard_agent.client import guard_agent
from guard_agent.models import AgentConfig

# The number of events sent between two sleeps of a millisecond.
BURST = 40

# Needed for a peer that waits for the backend when it starts.
START_SECONDS = 1


async def measure(endpoint: str, events: int, *, full: bool) -> dict[str, float]:
    has_limit = "max_buffered" in AgentConfig.model_fields
    agent = guard_agent(
        AgentConfig(
            api_key="benchmark-key-1234567890",
            project_id="benchmark",
            endpoint=endpoint,
            buffer_size=100,
            **({"max_buffered": 100} if full and has_limit else {}),
        )
    )
    # Not cancelled: the case measures an agent that never gets through.
    await asyncio.wait([asyncio.create_task(agent.start())], timeout=START_SECONDS)
    built = [make_event(index) for index in range(events)]
    taken = []

    async def send() -> None:
        for index, event in enumerate(built):
            begun = time.perf_counter()
            await agent.send_event(event)
            taken.append(time.perf_counter() - begun)
            if index % BURST == 0:
                await asyncio.sleep(TICK)

    stall = await lateness_during(send())
    percentiles = quantiles(taken, n=100)
    return {
        "p50_us": percentiles[49] * 1e6,
        "p99_us": percentiles[98] * 1e6,
        "stall_ms": stall * 1e3,
    }


async def main(endpoint: str, events: str, mode: str) -> None:
    print(json.dumps(await measure(endpoint, int(events), full=mode == "full")), flush=True)
    # Exit at once: undelivered events and the agent's further attempts do not matter here.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
