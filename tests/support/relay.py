"""A relay between an agent and the server. It forwards and stores requests, and can cut them off.

It is also a proxy: whatever host a request names, it goes to the one server.
"""

import gzip
import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from support.process import PATIENCE_SECONDS

# The response headers that agents read.
PASSED_ON = ("Content-Type", "Retry-After", "ETag", "Preference-Applied", "X-Payload-Signature")


@dataclass
class Exchange:
    """A request as sent on the wire, its inflated body, and the server's response."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def carries_records(self) -> bool:
        return self.method == "POST" and not self.path.endswith("/status")


class Relay:
    """Listens on a port that the system chooses.

    After each response of the server, the relay calls `answered`. If that returns False, it cuts
    the agent's connection without a response. `rewrite` may change the body of a
    response.
    """

    def __init__(self, server_url: str) -> None:
        self.exchanges: list[Exchange] = []
        self.answered: Callable[[Exchange], bool] = lambda _exchange: True
        self.rewrite: Callable[[bytes], bytes] = lambda content: content
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                relay.pass_on(self, urlsplit(server_url).netloc)

            do_GET = do_POST = pass_on  # noqa: N815 (the names http.server looks for)

            def log_message(self, *_: object) -> None:
                """Logs nothing: the traffic is in `exchanges`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def pass_on(self, handler: BaseHTTPRequestHandler, server: str) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(server, timeout=PATIENCE_SECONDS)
        try:
            path = urlsplit(handler.path).path
            connection.request(handler.command, path, body, dict(handler.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            handler.close_connection = True
            return
        finally:
            connection.close()
        exchange = self.keep(handler, body, answer.status)
        if not self.answered(exchange):
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        content = self.rewrite(content)
        for name in PASSED_ON:
            if value := answer.headers.get(name):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def keep(self, handler: BaseHTTPRequestHandler, body: bytes, status: int) -> Exchange:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        exchange = Exchange(handler.command, handler.path, headers, body, status)
        self.exchanges.append(exchange)
        return exchange

    def batches(self) -> list[Exchange]:
        """The exchanges that carried records, oldest first."""
        return [exchange for exchange in list(self.exchanges) if exchange.carries_records]
