"""Backends that accept connections and never answer."""

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.process import PATIENCE_SECONDS


@contextmanager
def silent_backend() -> Iterator[str]:
    """Yields its URL. The system accepts connections for it; no program reads them."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class HeardBackend:
    """Reads from all its connections and never answers.

    Attributes:
        url: The address where it listens.
        paths: The requested paths, in order.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.paths: queue.Queue[str] = queue.Queue()
        self._listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, path: str) -> None:
        """Waits until `path` is requested."""
        while self.paths.get(timeout=PATIENCE_SECONDS) != path:
            pass

    def _accept(self) -> None:
        # Closed at the end of the test.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            head = connection.makefile("rb").readline()
            self.paths.put(head.split(b" ")[1].decode())
            while connection.recv(65536):
                pass


@contextmanager
def heard_backend() -> Iterator[HeardBackend]:
    """Yields one that listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield HeardBackend(listener)
