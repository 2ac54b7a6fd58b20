"""A small shop on Flask behind flaskapi-guard, reporting to guard-server.

Start guard-server; then, with requirements.txt and fastapi-guard-agent installed:

    GUARD_AGENT_API_KEY=fg_... gunicorn --workers 2 --bind 127.0.0.1:8402 app:app

Settings come from the environment:

    GUARD_AGENT_API_KEY         the project's API key; required
    GUARD_AGENT_ENDPOINT        the backend, default http://127.0.0.1:8400
    GUARD_AGENT_FLUSH_INTERVAL  seconds a lone record may wait, default 30
"""

import os
from typing import Any

from flask import Flask, abort, request
from flaskapi_guard import FlaskAPIGuard, SecurityConfig

from guard_agent import AgentConfig, guard_agent

config = SecurityConfig(
    enable_agent=True,
    agent_api_key=os.environ["GUARD_AGENT_API_KEY"],
    agent_endpoint=os.environ.get("GUARD_AGENT_ENDPOINT", "http://127.0.0.1:8400"),
    agent_flush_interval=int(os.environ.get("GUARD_AGENT_FLUSH_INTERVAL", "30")),
    # Rules that are set on the server apply at once.
    enable_dynamic_rules=True,
    dynamic_rule_interval=60,
    enable_redis=False,
    # The client's address comes from X-Forwarded-For, set by a proxy on this machine.
    trusted_proxies=("127.0.0.1",),
    blocked_user_agents=["sqlmap", "nikto", "masscan"],
    blacklist=("192.0.2.66",),
    auto_ban_threshold=5,
    auto_ban_duration=300,
    rate_limit=120,
    rate_limit_window=60,
    endpoint_rate_limits={"/login": (3, 60)},
)

app = Flask(__name__)
FlaskAPIGuard(app, config=config)

# The guard has already created the process's agent. All handlers share it.
agent_config = config.to_agent_config()
assert isinstance(agent_config, AgentConfig)
agent = guard_agent(agent_config)

ITEMS = {1: "kettle", 2: "teapot", 3: "cup", 4: "saucer", 5: "spoon"}


@app.get("/")
def home() -> dict[str, str]:
    return {"shop": "Kettles and cups"}


@app.get("/items/<int:number>")
def item(number: int) -> dict[str, Any]:
    if number not in ITEMS:
        abort(404)
    return {"id": number, "name": ITEMS[number]}


@app.get("/search")
def search() -> list[str]:
    return [name for name in ITEMS.values() if request.args.get("q", "") in name]


@app.post("/login")
def login() -> tuple[str, int]:
    return "", 401


@app.get("/telemetry")
def telemetry() -> dict[str, Any]:
    """What the agent has accepted, sent and lost. Show it to operators only."""
    return agent.get_stats()
