"""Makes uvicorn wait for the agent before it ends the process.

uvicorn shuts down on a signal and then raises the signal again for the previous handler. For
SIGTERM there is usually none, so the process ends at once and skips the interpreter's exit steps.
The last code that runs before that is `Server.shutdown`.
"""

import signal
import sys
import weakref
from collections.abc import Callable
from typing import Any

from guard_agent.awaitables import in_background

_MODULE = "uvicorn.server"

_servers: "weakref.WeakSet[Any]" = weakref.WeakSet()


def await_at_shutdown(deliver: Callable[[], None]) -> bool:
    """Makes the uvicorn server of this process also run `deliver` when it shuts down.

    The server is found through its signal handler, which stays unchanged; nothing is imported.

    Returns:
        True if the server was found, or if uvicorn is not imported. False if uvicorn is imported
        but does not serve yet.
    """
    server_class = getattr(sys.modules.get(_MODULE), "Server", None)
    if server_class is None:
        return True
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, server_class):
        return False
    if server not in _servers:
        _servers.add(server)
        _extend(server, deliver)
    return True


def _extend(server: Any, deliver: Callable[[], None]) -> None:
    shut_down = server.shutdown

    async def shut_down_and_deliver(*args: Any, **kwargs: Any) -> None:
        await shut_down(*args, **kwargs)
        await in_background(deliver)

    server.shutdown = shut_down_and_deliver
