"""An ASGI app whose agent sends a thousand events a second, and that answers no request.

During shutdown a server waits for its open requests, so it waits for this app forever.
"""

import asyncio
import os
import threading
from typing import Any

from sender import Sender

sender = Sender(
    os.environ["FAULTS_RECORD"], os.environ["FAULTS_SPOOL"], os.environ["FAULTS_ENDPOINT"]
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        sender.agent.start()
        threading.Thread(target=sender.send_on, daemon=True).start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await asyncio.Event().wait()
