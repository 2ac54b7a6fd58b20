"""An app whose guard uses Redis."""

import os

from flask import Flask
from flaskapi_guard import FlaskAPIGuard, SecurityConfig
from guarded import WITH_REDIS

from guard_agent import guard_agent

config = SecurityConfig(**WITH_REDIS)
app = Flask(__name__)
FlaskAPIGuard(app, config=config)


@app.get("/")
def home() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/telemetry")
def telemetry() -> dict[str, object]:
    return guard_agent(config.to_agent_config()).get_stats()
