"""A receiver of webhooks. Appends each request as a line of JSON to the file that its argument
names, and answers as the path says. A second argument names a certificate with its key, for https.
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG = Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    """Answers `/STATUS/...` with that status and a body that repeats the path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        record = {"path": self.path, "headers": dict(self.headers), "body": body.decode()}
        with LOG.open("a") as log:
            log.write(json.dumps(record) + "\n")
        first = self.path.split("/")[1].partition("?")[0]
        status = int(first) if first.isdigit() else 200
        answer = f"\x1b[2J{self.path} is {status}".encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/200/followed")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
