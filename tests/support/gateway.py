"""Redirects a program to the test's server when it connects to another host name."""

import socket
import socketserver
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit


class Gateway:
    """An HTTP proxy that terminates TLS and forwards the requests to one server."""

    def __init__(self, server_url: str, certificate: Path) -> None:
        target = urlsplit(server_url)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)

        class Tunnel(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with (
                    tls.wrap_socket(self.connection, server_side=True) as client,
                    socket.create_connection((target.hostname, target.port)) as server,
                ):
                    back = threading.Thread(target=pump, args=(server, client))
                    back.start()
                    pump(client, server)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copies until the source ends, then ends the target."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()
