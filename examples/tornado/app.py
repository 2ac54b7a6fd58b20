"""A small shop on Tornado behind tornadoapi-guard, reporting to guard-server.

Start guard-server; then, with requirements.txt and fastapi-guard-agent installed:

    GUARD_AGENT_API_KEY=fg_... python app.py

Settings come from the environment:

    GUARD_AGENT_API_KEY         the project's API key; required
    GUARD_AGENT_ENDPOINT        the backend, default http://127.0.0.1:8400
    GUARD_AGENT_FLUSH_INTERVAL  seconds a lone record may wait, default 30
    APP_PORT                    where the shop listens, default 8404; 0 takes a free port
"""

import asyncio
import os
import signal

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError
from tornadoapi_guard import SecurityConfig, SecurityHandler, SecurityMiddleware

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

ITEMS = {1: "kettle", 2: "teapot", 3: "cup", 4: "saucer", 5: "spoon"}


class Home(SecurityHandler):
    def get(self) -> None:
        self.write({"shop": "Kettles and cups"})


class Item(SecurityHandler):
    def get(self, number: str) -> None:
        if int(number) not in ITEMS:
            raise HTTPError(404)
        self.write({"id": int(number), "name": ITEMS[int(number)]})


class Search(SecurityHandler):
    def get(self) -> None:
        query = self.get_query_argument("q", "")
        self.write({"found": [name for name in ITEMS.values() if query in name]})


class Login(SecurityHandler):
    def post(self) -> None:
        raise HTTPError(401)


class Telemetry(SecurityHandler):
    def get(self) -> None:
        """What the agent has accepted, sent and lost. Show it to operators only."""
        self.write(self.settings["agent"].get_stats())


async def main() -> None:
    security_middleware = SecurityMiddleware(config=config)
    # The guard has already created the process's agent. All handlers share it.
    agent_config = config.to_agent_config()
    assert isinstance(agent_config, AgentConfig)
    agent = guard_agent(agent_config)
    server = HTTPServer(
        Application(
            [
                ("/", Home),
                (r"/items/(\d+)", Item),
                ("/search", Search),
                ("/login", Login),
                ("/telemetry", Telemetry),
            ],
            security_middleware=security_middleware,
            agent=agent,
        )
    )
    sockets = bind_sockets(int(os.environ.get("APP_PORT", "8404")), "127.0.0.1")
    server.add_sockets(sockets)
    print(f"listening on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)

    # Without this handler a signal would end the process before anything is delivered.
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    server.stop()
    await server.close_all_connections()
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(main())
