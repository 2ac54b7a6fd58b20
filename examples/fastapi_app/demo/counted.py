"""The example app, with a counter for the records that fastapi-guard passes to the agent.

The counter runs before the agent, so the server's figure is compared with one that does not
depend on the agent. The count goes to the file named by DEMO_PRODUCED, ten times a second
and once more after the agent has stopped.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import guard_agent

make_handler = guard_agent.guard_agent
produced: dict[str, Counter[str]] = {"events": Counter(), "metrics": Counter()}
produced_file = Path(os.environ["DEMO_PRODUCED"])


class CountingHandler:
    """An agent's handler that counts each record before it passes it on."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def send_event(self, event: Any) -> Any:
        produced["events"][event.event_type] += 1
        return self.handler.send_event(event)

    def send_metric(self, metric: Any) -> Any:
        produced["metrics"][metric.metric_type] += 1
        return self.handler.send_metric(metric)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handler, name)


def write_produced() -> None:
    """Replaces the file atomically, so that a reader never sees half of it."""
    fresh = produced_file.with_suffix(".fresh")
    fresh.write_text(json.dumps(produced))
    fresh.replace(produced_file)


async def keep_writing() -> None:
    while True:
        await asyncio.sleep(0.1)
        write_produced()


def make_counting_handler(config: guard_agent.AgentConfig) -> Any:
    return CountingHandler(make_handler(config))


# The app and fastapi-guard import the factory from guard_agent. Replace it before they do.
guard_agent.guard_agent = make_counting_handler

from main import app  # noqa: E402

app_lifespan = app.router.lifespan_context


@asynccontextmanager
async def counted_lifespan(app: FastAPI) -> AsyncIterator[Any]:
    async with app_lifespan(app) as state:
        write_produced()
        writing = asyncio.create_task(keep_writing())
        yield state
        writing.cancel()
    write_produced()


app.router.lifespan_context = counted_lifespan
