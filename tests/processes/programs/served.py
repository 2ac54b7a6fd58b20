"""An ASGI app whose process sends as fast as it can while it serves requests under load.

GET / answers with the process id after the agent accepted one more record. If gunicorn imports
the app before it forks, the parent's agent sends too. The agent handles the process's end, or
the app stops the agent if HOST_STOPS_AGENT is set.
"""

import os
from typing import Any

from host import Sender, agent, send_and_tell

UNDER_LOAD = "HOST_UNDER_LOAD" in os.environ
STOPS_AGENT = "HOST_STOPS_AGENT" in os.environ

send_and_tell()


async def lifespan(receive: Any, send: Any) -> None:
    """Sends from startup to shutdown."""
    await receive()
    sender = Sender()
    thread = sender.start() if UNDER_LOAD else None
    await send({"type": "lifespan.startup.complete"})
    await receive()
    sender.stopped = True
    if thread:
        thread.join()
    sender.tell()
    if STOPS_AGENT:
        agent.stop()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    send_and_tell(1)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
