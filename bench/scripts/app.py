"""Serves the example app on a free port, and counts what its guard must report.

    python app.py MAIN.PY

With BENCH_AGENT=nothing in the environment its agent does nothing.

Prints `listening on http://ADDRESS` when it accepts requests. Stops gracefully on
SIGTERM: once the last request is answered it prints the metrics that fastapi-guard
made and the CPU time of an answer, as `{"produced": N, "cpu_us": N}`, and then
stops its agent.
"""

import asyncio
import importlib.util
import json
import os
import sys
import time
from typing import Any

import uvicorn
from nothing import Nothing

import guard_agent


class Meter:
    """Wraps an ASGI app; counts the metrics that fastapi-guard makes of its answers.

    Two for each answer, response_time and request_count; from status 400 up
    error_rate too.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answers = 0
        self.produced = 0
        self.cpu_at_start = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def metering_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.answers += 1
                self.produced += 2 if message["status"] < 400 else 3
            elif message["type"] == "lifespan.startup.complete":
                self.cpu_at_start = time.process_time()
            await send(message)

        async def reporting_receive() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.report()
            return message

        reports = scope["type"] == "lifespan"
        await self.app(scope, reporting_receive if reports else receive, metering_send)

    def report(self) -> None:
        cpu = time.process_time() - self.cpu_at_start
        figures = {"produced": self.produced, "cpu_us": cpu / self.answers * 1e6}
        print(json.dumps(figures), flush=True)


class AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()
        print(f"listening on http://{host}:{port}", flush=True)


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("example", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["example"] = module
    spec.loader.exec_module(module)
    return module.app


if __name__ == "__main__":
    if os.environ.get("BENCH_AGENT") == "nothing":
        # The module where the guard and the app look up the factory.
        guard_agent.guard_agent = Nothing
    app = Meter(load(sys.argv[1]))
    config = uvicorn.Config(app, port=0, log_level="error", proxy_headers=False)
    asyncio.run(AnnouncingServer(config).serve())
