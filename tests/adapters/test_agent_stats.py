"""Each guard tells of the agent by its `agent_stats`, which the agent's `get_stats` answers."""

import json
import subprocess
import sys

import pytest

CONFIG = """
import json
from guard_core import SecurityConfig

config = SecurityConfig(enable_agent=True, agent_api_key="an-api-key-for-tests", enable_redis=False)
"""

GUARDS = {
    "fastapi": """
from fastapi import FastAPI
from guard import SecurityMiddleware
guard = SecurityMiddleware(FastAPI(), config=config)
""",
    "flask": """
from flask import Flask
from flaskapi_guard import FlaskAPIGuard
guard = FlaskAPIGuard(Flask("shop"), config=config)
""",
    "django": """
from django.conf import settings
settings.configure(GUARD_SECURITY_CONFIG=config)
from djangoapi_guard import DjangoAPIGuard
guard = DjangoAPIGuard(lambda request: None)
""",
    "tornado": """
from tornadoapi_guard import SecurityMiddleware
guard = SecurityMiddleware(config=config)
""",
}


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_tells_of_the_agent_it_was_made_with(name: str) -> None:
    program = CONFIG + GUARDS[name] + "print(json.dumps(guard.agent_stats))"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    stats = json.loads(ended.stdout.splitlines()[-1])
    assert stats["enabled"] is True
    # Nothing starts before the first request or record.
    assert stats["running"] is False
    assert stats["buffer_stats"]["events_buffered"] == 0
    assert stats["transport_stats"]["requests_sent"] == 0
