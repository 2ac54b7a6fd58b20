"""A small shop behind fastapi-guard, reporting to guard-server.

Start guard-server, then:

    GUARD_AGENT_API_KEY=fg_... python main.py

Settings come from the environment:

    GUARD_AGENT_API_KEY                 the project's API key; required while the agent is on
    GUARD_AGENT_ENDPOINT                the backend, default http://127.0.0.1:8400
    GUARD_AGENT_PROJECT_ENCRYPTION_KEY  encrypts what is sent; unset: not encrypted
    GUARD_AGENT_PAYLOAD_SIGNING_SECRET  signs what is sent; unset: not signed
    GUARD_AGENT_FLUSH_INTERVAL          seconds a lone record may wait, default 30
    GUARD_AGENT                         "off" runs the app without the agent, default "on"
    GUARD_DETECTION                     "off" switches attack detection off and lifts the rate
                                        limits, for load tests: detection takes tens of
                                        milliseconds a request; default "on"
    APP_PORT                            where `python main.py` listens, default 8401
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request, Response
from guard import SecurityConfig, SecurityDecorator, SecurityMiddleware, security_headers_manager
from guard.lifespan import make_lifespan

from guard_agent import guard_agent


def switch(name: str) -> bool:
    """Reads an "on"/"off" setting; unset means "on"."""
    value = os.environ.get(name, "on")
    if value not in ("on", "off"):
        raise SystemExit(f'{name}={value!r}: use "on" or "off"')
    return value == "on"


DETECTION = switch("GUARD_DETECTION")

config = SecurityConfig(
    enable_agent=switch("GUARD_AGENT"),
    # Rules that are set on the server apply at once.
    enable_dynamic_rules=switch("GUARD_AGENT"),
    agent_api_key=os.environ.get("GUARD_AGENT_API_KEY"),
    agent_endpoint=os.environ.get("GUARD_AGENT_ENDPOINT", "http://127.0.0.1:8400"),
    agent_project_encryption_key=os.environ.get("GUARD_AGENT_PROJECT_ENCRYPTION_KEY"),
    agent_payload_signing_secret=os.environ.get("GUARD_AGENT_PAYLOAD_SIGNING_SECRET"),
    agent_flush_interval=int(os.environ.get("GUARD_AGENT_FLUSH_INTERVAL", "30")),
    enable_redis=False,
    # The client's address comes from X-Forwarded-For, set by a proxy on this machine.
    trusted_proxies=("127.0.0.1",),
    enable_penetration_detection=DETECTION,
    enable_rate_limiting=DETECTION,
    rate_limit=120,
    rate_limit_window=60,
    auto_ban_threshold=5,
    auto_ban_duration=300,
    blocked_user_agents=["sqlmap", "nikto", "masscan"],
    blacklist=("192.0.2.66",),
    exclude_paths=["/health", "/assets", "/docs", "/openapi.json"],
)
guard = SecurityDecorator(config)

ITEMS = {1: "kettle", 2: "teapot", 3: "cup", 4: "saucer", 5: "spoon"}
TOKENS = {"example-token": "ada"}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    # fastapi-guard starts the agent but does not stop it. The app must stop it, which delivers
    # the queued records.
    if agent_config := config.to_agent_config():
        await guard_agent(agent_config).stop()


app = FastAPI(title="Example shop", lifespan=make_lifespan(lifespan))
app.add_middleware(SecurityMiddleware, config=config)
app.state.guard_decorator = guard


@app.get("/")
async def home() -> dict[str, str]:
    return {"shop": "Kettles and cups"}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/assets/{name}")
async def asset(name: str) -> Response:
    return Response(f"/* {len(name)} */", media_type="text/css")


@app.get("/items")
async def list_items() -> dict[int, str]:
    return ITEMS


@app.get("/items/{item_id}")
async def read_item(item_id: int) -> dict[str, Any]:
    if item_id not in ITEMS:
        raise HTTPException(404, "no such item")
    return {"id": item_id, "name": ITEMS[item_id]}


@app.get("/search")
async def search(q: str = "") -> list[str]:
    return [name for name in ITEMS.values() if q.lower() in name]


@app.post("/login")
@guard.rate_limit(requests=3, window=60)
async def login(user: Annotated[str, Body()], password: Annotated[str, Body()]) -> dict[str, str]:
    raise HTTPException(401, f"unknown user or password ({len(user)}, {len(password)} characters)")


def account_of(_request: Any, token: str) -> str | None:
    """Finds the account of a bearer token, comparing in constant time."""
    given = token.encode()
    return next((TOKENS[t] for t in TOKENS if secrets.compare_digest(t.encode(), given)), None)


@app.get("/account")
@guard.require_auth(type="bearer", verifier=account_of)
async def account() -> dict[str, str]:
    return {"account": "ada"}


@app.get("/admin")
@guard.require_ip(whitelist=["10.0.0.0/8"])
async def admin() -> dict[str, int]:
    return {"items": len(ITEMS)}


@app.get("/orders")
@guard.require_headers({"X-Shop-Client": "required"})
async def orders() -> list[str]:
    return []


@app.post("/upload")
@guard.content_type_filter(["text/csv"])
@guard.max_request_size(10_000)
async def upload(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@app.get("/prices")
@guard.usage_monitor(max_calls=20, window=60, action="log")
async def prices() -> dict[str, float]:
    return {name: 1.0 + number for number, name in ITEMS.items()}


@app.get("/status")
@guard.bypass(["all"])
async def status() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/csp-report")
async def csp_report(request: Request) -> Response:
    accepted = await security_headers_manager.validate_csp_report(await request.json())
    return Response(status_code=204 if accepted else 400)


if __name__ == "__main__":
    # proxy_headers=False: only fastapi-guard evaluates X-Forwarded-For.
    uvicorn.run(app, port=int(os.environ.get("APP_PORT", "8401")), proxy_headers=False)
