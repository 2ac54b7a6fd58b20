import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django_application = get_asgi_application()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Django, and what it leaves out: the server's word that it is about to end.

    uvicorn ends itself by the signal it was sent, so that nothing runs at exit: what is still
    queued is delivered here.
    """
    if scope["type"] != "lifespan":
        await django_application(scope, receive, send)
        return
    from telemetry import agent

    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await agent.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "lifespan.startup.complete"})
