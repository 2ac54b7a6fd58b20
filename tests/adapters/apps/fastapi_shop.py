"""The shop of the examples, on FastAPI."""

import os
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from guard import SecurityConfig, SecurityMiddleware
from guard.lifespan import make_lifespan

from guard_agent import AgentConfig, guard_agent

config = SecurityConfig(
    enable_agent=True,
    agent_api_key=os.environ["GUARD_AGENT_API_KEY"],
    agent_endpoint=os.environ["GUARD_AGENT_ENDPOINT"],
    agent_flush_interval=int(os.environ["GUARD_AGENT_FLUSH_INTERVAL"]),
    enable_dynamic_rules=True,
    dynamic_rule_interval=60,
    enable_redis=False,
    trusted_proxies=("127.0.0.1",),
    blocked_user_agents=["sqlmap", "nikto", "masscan"],
    blacklist=("192.0.2.66",),
    auto_ban_threshold=5,
    auto_ban_duration=300,
    rate_limit=120,
    rate_limit_window=60,
    endpoint_rate_limits={"/login": (3, 60)},
)
agent_config = config.to_agent_config()
assert isinstance(agent_config, AgentConfig)
agent = guard_agent(agent_config)

ITEMS = {1: "kettle", 2: "teapot", 3: "cup", 4: "saucer", 5: "spoon"}

routes = APIRouter()


@routes.get("/")
async def home() -> dict[str, str]:
    return {"shop": "Kettles and cups"}


@routes.get("/items/{number}")
async def item(number: int) -> dict[str, Any]:
    if number not in ITEMS:
        raise HTTPException(404)
    return {"id": number, "name": ITEMS[number]}


@routes.get("/search")
async def search(q: str = "") -> list[str]:
    return [name for name in ITEMS.values() if q in name]


@routes.post("/login")
async def login() -> None:
    raise HTTPException(401)


@routes.get("/telemetry")
async def telemetry() -> dict[str, Any]:
    return agent.get_stats()


def make_app(middleware: type) -> FastAPI:
    """The shop behind one of the two middlewares of fastapi-guard."""
    app = FastAPI(lifespan=make_lifespan())
    app.add_middleware(middleware, config=config)
    app.include_router(routes)
    return app


app = make_app(SecurityMiddleware)
