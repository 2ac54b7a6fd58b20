"""Each guard reports the agent in its `agent_stats`, before and after its first request."""

import json
import subprocess
import sys

import pytest
from support.guard_server import API_KEY, GuardServer
from support.process import PATIENCE_SECONDS

CONFIG = """
import asyncio, json, sys
from guard_core import SecurityConfig

config = SecurityConfig(
    enable_agent=True, agent_endpoint=sys.argv[1], agent_api_key=sys.argv[2],
    enable_redis=False, enable_penetration_detection=False,
)
"""

# Each program creates a guard and visits its app.
GUARDS = {
    "fastapi": """
from fastapi import FastAPI
from guard import SecurityMiddleware
guard = SecurityMiddleware(FastAPI(), config=config)
async def ask():
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "path": "/",
        "raw_path": b"/", "query_string": b"", "headers": [], "client": ("127.0.0.1", 1)}
    async def receive(): return {"type": "http.request"}
    async def send(message): pass
    await guard(scope, receive, send)
def visit(): asyncio.run(ask())
""",
    "fastapi-pure-asgi": """
from fastapi import FastAPI
from guard import PureASGISecurityMiddleware
pure = PureASGISecurityMiddleware(FastAPI(), config=config)
# It screens requests by an instance of the other middleware.
guard = pure._engine
async def ask():
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "path": "/",
        "raw_path": b"/", "query_string": b"", "headers": [], "client": ("127.0.0.1", 1)}
    async def receive(): return {"type": "http.request"}
    async def send(message): pass
    await pure(scope, receive, send)
def visit(): asyncio.run(ask())
""",
    "flask": """
from flask import Flask
from flaskapi_guard import FlaskAPIGuard
app = Flask("shop")
guard = FlaskAPIGuard(app, config=config)
def visit(): app.test_client().get("/")
""",
    "django": """
from django.conf import settings
settings.configure(
    GUARD_SECURITY_CONFIG=config, ALLOWED_HOSTS=["testserver"], ROOT_URLCONF="__main__"
)
urlpatterns = []
from django.http import HttpResponse
from django.test import RequestFactory
from djangoapi_guard import DjangoAPIGuard
guard = DjangoAPIGuard(lambda request: HttpResponse())
def visit(): guard(RequestFactory().get("/"))
""",
    "tornado": """
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornadoapi_guard import SecurityHandler, SecurityMiddleware
guard = SecurityMiddleware(config=config)
class Home(SecurityHandler):
    def get(self): pass
async def ask():
    server = HTTPServer(Application([("/", Home)], security_middleware=guard))
    (listener,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listener)
    await AsyncHTTPClient().fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/")
def visit(): asyncio.run(ask())
""",
}

TELL = """
before = guard.agent_stats
visit()
print(json.dumps([before, guard.agent_stats]))
"""


@pytest.mark.parametrize("name", GUARDS)
def test_agent_stats_report_the_agent(name: str, server: GuardServer) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CONFIG + GUARDS[name] + TELL, server.url, API_KEY],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    before, after = json.loads(ended.stdout.splitlines()[-1])
    assert before["enabled"] is after["enabled"] is True
    # Nothing starts before the first request or record.
    assert (before["running"], after["running"]) == (False, True)
    assert before["buffer_stats"]["metrics_buffered"] == 0
    taken = after["buffer_stats"]["metrics_buffered"]
    assert taken >= 2
    assert sum(server.counts("metrics").values()) == taken
