"""An app whose guard uses Redis."""

import os
from typing import Any

from fastapi import FastAPI
from guard import SecurityConfig, SecurityMiddleware
from guard.lifespan import make_lifespan
from guarded import WITH_REDIS

from guard_agent import guard_agent

config = SecurityConfig(**WITH_REDIS)
app = FastAPI(lifespan=make_lifespan())
app.add_middleware(SecurityMiddleware, config=config)


@app.get("/")
async def home() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/telemetry")
async def telemetry() -> dict[str, Any]:
    return guard_agent(config.to_agent_config()).get_stats()
