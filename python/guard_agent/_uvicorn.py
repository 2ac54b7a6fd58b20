"""Has uvicorn wait for the agent before it ends the process.

uvicorn shuts down at a signal and then raises it anew for the handler that was there before its
own. For SIGTERM that is most often none: the process ends on the spot, without anything that an
interpreter does when it exits. The last that happens before is `Server.shutdown`.
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
    """Has the uvicorn that serves in this process do `deliver` too when it shuts down.

    It is found by the signal that it handles, whose handler stays as it is; nothing is imported.

    Returns:
        Whether it was found. It is not while it has been imported and does not serve yet.
        Where nobody has imported it there is none to find, and that is true as well.
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
