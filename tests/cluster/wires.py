"""What is between the parts of a cluster: a balancer in front of the nodes, and links to stores."""

import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

Address = tuple[str, int]


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


class Wire:
    """Listens on a free port, and passes each connection on to an address that `choose` returns.

    While it is cut, no byte passes in either direction and nothing is closed, as in a network that
    loses every packet. New connections are accepted by the system and get no answer.
    """

    def __init__(self, choose: Callable[[], Sequence[Address]]) -> None:
        self._choose = choose
        self._whole = threading.Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """Passes on again. What was open before is closed, as after a long loss."""
        for end in list(self._open):
            self._close(end)
        self._whole.set()

    def stop(self) -> None:
        self._is_over = True
        self._listener.close()
        self.mend()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        self._whole.wait()
        server = self._connect()
        if server is None:
            self._close(client)
            return
        self._open.add(server)
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        self._close(client)
        self._close(server)

    def _connect(self) -> socket.socket | None:
        found = (_connected(address) for address in self._choose())
        return next((server for server in found if server), None)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Copies until the source ends, then ends the target."""
        try:
            source.settimeout(None)
            while data := source.recv(65536):
                self._whole.wait()
                target.sendall(data)
            self._whole.wait()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                self._close(end)

    def _close(self, end: socket.socket) -> None:
        self._open.discard(end)
        with suppress(OSError):
            # Ends a `recv` of another thread, which `close` alone does not.
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _connected(address: Address) -> socket.socket | None:
    try:
        return socket.create_connection(address, timeout=2)
    except OSError:
        return None


def balancer(urls: Callable[[], Sequence[str]]) -> Wire:
    """Spreads connections over nodes, in turn. One that refuses is passed over."""
    turns = itertools.count()

    def choose() -> list[Address]:
        addresses = [address_of(url) for url in urls()]
        first = next(turns) % len(addresses)
        return addresses[first:] + addresses[:first]

    return Wire(choose)


def link(url: str) -> Wire:
    """The way to one store."""
    return Wire(lambda: [address_of(url)])
