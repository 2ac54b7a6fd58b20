"""An application that reports the requests of one endpoint, with nothing but the agent.

Start guard-server, then:

    GUARD_AGENT_API_KEY=fg_... GUARD_AGENT_ENDPOINT=http://127.0.0.1:8400 uvicorn main:app

Every setting of the agent can be given as GUARD_AGENT_...; REDIS_URL, if set, names a Redis for
the agent.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from redis.asyncio import Redis

from fastapi_guard.fastapi_guard import Guard
from fastapi_guard.redis_handler import RedisHandler
from guard_agent.client import guard_agent
from guard_agent.models import AgentConfig, SecurityEvent
from guard_agent.utils import get_current_timestamp

# 1. Configure the agent.
agent_config = AgentConfig.from_env()
agent = guard_agent(agent_config)


# 2. Define a handler that sends data to the agent.
class AgentSecurityEventHandler:
    async def handle(self, request: Request, exc: Exception) -> None:
        event = SecurityEvent(
            timestamp=get_current_timestamp(),
            event_type="suspicious_request",
            ip_address=request.client.host if request.client else "",
            endpoint=request.url.path,
            method=request.method,
            action_taken="log",
            reason=str(exc),
        )
        await agent.send_event(event)
        # Return a response to send it instead of the endpoint's, or raise exc to answer 403.


# 3. Give the handler to a guard.
guard = Guard(handlers={"suspicious_request": AgentSecurityEventHandler()})


# 4. Start and stop the agent with the application.
@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    redis = Redis.from_url(os.environ["REDIS_URL"]) if "REDIS_URL" in os.environ else None
    if redis:
        await agent.initialize_redis(RedisHandler(redis=redis))
    await agent.start()
    yield
    await agent.stop()
    if redis:
        await redis.aclose()


app = FastAPI(lifespan=lifespan)


# 5. Protect an endpoint.
@app.get("/")
@guard.protect("suspicious_request")
async def root() -> dict[str, str]:
    return {"message": "Hello World"}
