"""Creates a handler at every stage of an application's life and sends an event through each."""

from typing import cast

from flask import Flask
from flaskapi_guard import FlaskAPIGuard, SecurityConfig
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

handlers: dict[str, GuardAgentHandler | SyncGuardAgentHandler] = {
    "import": guard_agent(agent_config)
}


def make_app() -> Flask:
    app = Flask(__name__)
    FlaskAPIGuard(app, config=config)
    handlers["factory"] = guard_agent(agent_config)

    @app.get("/")
    def report() -> dict[str, int]:
        """How many records the agent has accepted, according to the given handler."""
        handlers["request"] = SyncGuardAgentHandler(agent_config)
        for moment, handler in handlers.items():
            handler.send_event(
                SecurityEvent(timestamp=get_current_timestamp(), event_type=f"made_at_{moment}")
            )
        return {
            name: handler.get_stats()["ledger"]["accepted"] for name, handler in handlers.items()
        }

    return app
