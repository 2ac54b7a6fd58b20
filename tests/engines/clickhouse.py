"""ClickHouse's engine behind its HTTP interface, as far as the official Rust client uses it.

    python -m engines.clickhouse [--timezone America/New_York] [--profile async_insert=1 ...]

Prints its URL, runs until stdin closes, and removes its data. The engine is chdb-core.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import threading
from contextlib import suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Parameters of a URL that are no settings.
NO_SETTINGS = {
    "database",
    "query",
    "default_format",
    "query_id",
    "session_id",
    "wait_end_of_query",
    "user",
    "password",
    "role",
}
CODE = re.compile(r"Code: (\d+)")
INSERT = re.compile(r"(?is)^(\s*INSERT\s.*?)\sFORMAT\s+(\w+)\s*$")
WITH_ROWS = re.compile(r"(?is)^\s*INSERT\s.*\b(FORMAT|VALUES)\b")


class Engine:
    """Runs statements, each with a connection of its own, because settings belong to one."""

    def __init__(self, folder: Path, profile: dict[str, str]) -> None:
        import chdb  # Reads the time zone from the environment.

        self.connect = chdb.connect
        self.folder = folder
        self.profile = profile
        self.numbers = count()
        self.first = self.connect(str(folder / "data"))  # The engine ends with its last connection.

    def run(self, statement: str, body: bytes, parameters: dict[str, str]) -> bytes:
        """The answer to a statement. Raises RuntimeError with the text of the engine's error."""
        settings = self.profile | {
            name: value
            for name, value in parameters.items()
            if name not in NO_SETTINGS and not name.startswith("param_")
        }
        values = {
            name.removeprefix("param_"): value
            for name, value in parameters.items()
            if name.startswith("param_")
        }
        insert = INSERT.match(statement)
        is_async = settings.get("async_insert") == "1" and WITH_ROWS.match(statement)
        if is_async and settings.get("wait_for_async_insert") == "0":
            return b""  # Acknowledged from memory, and then lost.
        connection = self.connect(str(self.folder / "data"))
        data = self.folder / f"insert-{next(self.numbers)}"
        try:
            connection.query(f"USE `{parameters.get('database', 'default')}`")
            if settings:
                pairs = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
                connection.query(f"SET {pairs}")
            if insert:
                data.write_bytes(body)
                statement = f"{insert[1]} FROM INFILE '{data}' FORMAT {insert[2]}"
            form = parameters.get("default_format", "TabSeparated")
            answer: Any = connection.query(statement, form, params=values)
            return bytes(answer.bytes()) if hasattr(answer, "bytes") else b""
        finally:
            data.unlink(missing_ok=True)
            connection.close()


class Handler(BaseHTTPRequestHandler):
    """Reads the form of a request and writes the form of an answer."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_POST(self) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.read_body()
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
            for part in form.get_payload():  # type: ignore[union-attr]
                name = part.get_param("name", header="content-disposition")  # type: ignore
                value = part.get_payload(decode=True)  # type: ignore[union-attr]
                parameters[str(name)] = value.decode()  # type: ignore[union-attr]
            body = b""
        statement = parameters.get("query")
        if statement is None:
            statement, body = body.decode(), b""
        try:
            self.answer(200, self.engine.run(statement, body, parameters))
        except RuntimeError as error:
            found = CODE.search(str(error))
            self.answer(500, f"{error}\n".encode(), found[1] if found else "1")

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, body: bytes, code: str | None = None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A client that gave up has closed the connection.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Answers say everything."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timezone", default="UTC", help="the zone of the server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps its data here, in place of a new folder")
    parser.add_argument("--profile", metavar="SETTING=VALUE", action="append", default=[])
    arguments = parser.parse_args()
    os.environ["TZ"] = arguments.timezone
    profile = dict(setting.split("=", 1) for setting in arguments.profile)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="guard-clickhouse-"))
    try:
        Handler.engine = Engine(folder, profile)
        server = Server(("127.0.0.1", arguments.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # Does not wait for the engine's threads.


if __name__ == "__main__":
    main()
