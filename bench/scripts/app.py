"""Serves the example app on a free port, and counts what its guard must report.

    python app.py MAIN.PY

Prints `listening on http://ADDRESS` when it accepts requests. Stops gracefully on
SIGTERM: it prints how many metrics fastapi-guard made, as `{"produced": N}`,
once the last request is answered, and then stops its agent.
"""

import asyncio
import importlib.util
import json
import sys
from typing import Any

import uvicorn


class MetricCount:
    """Wraps an ASGI app; counts the metrics that fastapi-guard makes of its answers.

    Two for each answer, response_time and request_count; from status 400 up
    error_rate too. Prints the count when the last request has been answered,
    before the app stops its agent.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.produced = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def counting_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.produced += 2 if message["status"] < 400 else 3
            await send(message)

        async def reporting_receive() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                print(json.dumps({"produced": self.produced}), flush=True)
            return message

        if scope["type"] == "http":
            await self.app(scope, receive, counting_send)
        else:
            await self.app(scope, reporting_receive, send)


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
    app = MetricCount(load(sys.argv[1]))
    config = uvicorn.Config(app, port=0, log_level="error", proxy_headers=False)
    asyncio.run(AnnouncingServer(config).serve())
