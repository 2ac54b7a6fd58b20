"""Measures the memory of a queued event: python memory.py ENDPOINT EVENTS.

Sends events to a backend that never answers. Prints the growth of the process in bytes per event.
The program keeps no references to the events.
"""

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

from subject import make_agent, make_event

# Needed for a peer that waits for the backend when it starts.
START_SECONDS = 1


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(endpoint: str, events: int) -> dict[str, float]:
    agent = make_agent(endpoint, capacity=2 * events, holds=True)
    await asyncio.wait([asyncio.create_task(agent.start())], timeout=START_SECONDS)
    await agent.send_event(make_event(0))
    gc.collect()
    before = resident()
    for index in range(events):
        await agent.send_event(make_event(index))
    gc.collect()
    return {"queued_bytes": (resident() - before) / events}


async def main(endpoint: str, events: str) -> None:
    print(json.dumps(await measure(endpoint, int(events))), flush=True)
    # Exit at once: undelivered events do not matter here.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
