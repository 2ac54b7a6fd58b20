"""A Flask application behind flaskapi-guard, with an agent and dynamic rules."""

import os

from flask import Flask
from flaskapi_guard import FlaskAPIGuard, SecurityConfig

app = Flask(__name__)
FlaskAPIGuard(
    app,
    config=SecurityConfig(
        enable_agent=True,
        agent_api_key=os.environ["HOST_API_KEY"],
        agent_endpoint=os.environ["HOST_ENDPOINT"],
        enable_dynamic_rules=True,
        dynamic_rule_interval=60,
        enable_redis=False,
        enable_rate_limiting=False,
        enable_penetration_detection=False,
    ),
)


@app.get("/")
def home() -> str:
    return str(os.getpid())
