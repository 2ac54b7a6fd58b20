"""An unreliable connection to the server."""

import contextlib
import random
import socket
import socketserver
import threading
from urllib.parse import urlsplit

from support.gateway import pump

LONGEST_SECONDS = 1.0


class Flapping:
    """Forwards connections while it is up, and cuts them when it goes down.

    Goes up and down at random moments until `stay_up`. A request that was cut off may have been
    stored: its response is lost.
    """

    def __init__(self, server_url: str) -> None:
        target = urlsplit(server_url)
        flapping = self

        class Passage(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if not flapping.up:
                    return
                with socket.create_connection((target.hostname, target.port)) as server:
                    flapping.live |= {self.request, server}
                    back = threading.Thread(target=pump, args=(server, self.request))
                    back.start()
                    pump(self.request, server)
                    back.join()
                    flapping.live -= {self.request, server}

        self.up = True
        self.live: set[socket.socket] = set()
        self.times_down = 0
        self._settled = threading.Event()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Passage)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,)),
            threading.Thread(target=self._flap),
        ]
        for thread in self._threads:
            thread.start()

    def _flap(self) -> None:
        while not self._settled.wait(random.uniform(0.05, LONGEST_SECONDS)):
            self.up = not self.up
            if not self.up:
                self.times_down += 1
                self._cut()
        self.up = True

    def _cut(self) -> None:
        for connection in list(self.live):
            # The connection may have closed by itself.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stay_up(self) -> None:
        self._settled.set()
        self._threads[1].join()

    def stop(self) -> None:
        self.stay_up()
        self._cut()
        self._server.shutdown()
        self._threads[0].join()
        self._server.server_close()
