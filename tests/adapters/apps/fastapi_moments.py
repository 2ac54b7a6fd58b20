"""Creates a handler at every stage of an application's life and sends an event through each.

STARTING selects how FastAPI learns what to do at startup: "lifespan" or "events".
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from fastapi import FastAPI
from guard import SecurityConfig, SecurityMiddleware
from guarded import QUIET

from guard_agent import (
    AgentConfig,
    GuardAgentHandler,
    SecurityEvent,
    SyncGuardAgentHandler,
    get_current_timestamp,
    guard_agent,
)

config = SecurityConfig(**QUIET)
agent_config = cast(AgentConfig, config.to_agent_config())

handlers: dict[str, GuardAgentHandler] = {"import": guard_agent(agent_config)}


def event(moment: str) -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=f"made_at_{moment}")


async def start(moment: str) -> None:
    handlers[moment] = guard_agent(agent_config)
    await handlers[moment].start()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await start("lifespan")
    yield
    await handlers["lifespan"].stop()


if os.environ["STARTING"] == "lifespan":
    app = FastAPI(lifespan=lifespan)
else:
    app = FastAPI()

    @app.on_event("startup")
    async def startup() -> None:
        await start("startup")

    @app.on_event("shutdown")
    async def shutdown() -> None:
        await handlers["startup"].stop()


app.add_middleware(SecurityMiddleware, config=config)


@app.get("/")
async def in_the_loop() -> dict[str, int]:
    """How many records the agent has accepted, according to the given handler."""
    handlers["request"] = guard_agent(agent_config)
    for moment, handler in handlers.items():
        await handler.send_event(event(moment))
    return {name: handler.get_stats()["ledger"]["accepted"] for name, handler in handlers.items()}


@app.get("/in-a-thread")
def in_a_thread() -> dict[str, int]:
    """The same outside the event loop, where calls are not awaited."""
    handler = SyncGuardAgentHandler(agent_config)
    handler.send_event(event("thread"))
    _ = handlers["import"].send_event(event("import"))
    return {
        "thread": handler.get_stats()["ledger"]["accepted"],
        "import": handlers["import"].get_stats()["ledger"]["accepted"],
    }
