"""Several guard-servers on one PostgreSQL and one ClickHouse, with links that can be cut."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import requests
from engines.postgres import PostgresServer
from support import ROOT
from support.guard_server import ADMIN_TOKEN, GuardServer
from support.process import PATIENCE_SECONDS, eventually

from cluster.wires import Wire, balancer, link


class ClickHouseServer:
    """ClickHouse's engine in a process, with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.child: subprocess.Popen[str] | None = None

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/guard"

    def start(self) -> "ClickHouseServer":
        options = ["--port", str(self.port), "--folder", str(self.folder)]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "engines.clickhouse", *options],
            cwd=ROOT / "tests",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout
        self.port = urlsplit(self.child.stdout.readline().strip()).port or 0
        assert self.port, "the engine printed no URL"
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.child is not None:
            self.child.send_signal(how)
            self.child.wait(PATIENCE_SECONDS)
            for end in (self.child.stdin, self.child.stdout):
                assert end
                end.close()
            self.child = None


class Node(GuardServer):
    """A guard-server with links of its own to the stores."""

    def __init__(self, binary: Path, folder: Path, control: str, telemetry: str) -> None:
        folder.mkdir()
        self.to_postgres, self.to_clickhouse = link(control), link(telemetry)
        environment = {
            "GUARD_SERVER_CONTROL_URL": _through(control, self.to_postgres),
            "GUARD_SERVER_TELEMETRY_URL": _through(telemetry, self.to_clickhouse),
            "GUARD_SERVER_IDLE_TIMEOUT": "90",
        }
        super().__init__(binary, folder, environment=environment)

    def leads(self) -> bool:
        """Whether it does the work that is done once."""
        return "\nguard_server_leader 1\n" in self.metrics()

    def metrics(self) -> str:
        return self.ask("/metrics").text

    def is_ready(self) -> bool:
        return self.ask("/ready").status_code == 200

    def ask(self, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return requests.get(self.url + path, headers=headers, timeout=30)

    def close(self) -> None:
        self.stop()
        self.to_postgres.stop()
        self.to_clickhouse.stop()


def _through(url: str, wire: Wire) -> str:
    """The same URL by way of a wire."""
    netloc = urlsplit(url).netloc
    return url.replace(netloc.rpartition("@")[2], f"127.0.0.1:{wire.port}")


class Cluster:
    """The nodes, their stores, and the balancer in front."""

    def __init__(
        self, binary: Path, folder: Path, postgres: PostgresServer, clickhouse: ClickHouseServer
    ) -> None:
        self.postgres, self.clickhouse = postgres, clickhouse
        self._binary, self._folder = binary, folder
        self._stack = ExitStack()
        self.nodes: list[Node] = []
        self.front = balancer(lambda: [node.url for node in self.nodes])
        self._stack.callback(self.front.stop)
        self.url = f"http://127.0.0.1:{self.front.port}"

    def add(self) -> Node:
        name = f"node-{len(self.nodes) + 1}"
        urls = self.postgres.url(), self.clickhouse.url()
        node = Node(self._binary, self._folder / name, *urls)
        self._stack.callback(node.close)
        node.start()
        self.nodes.append(node)
        return node

    def leader(self) -> Node:
        """The node that leads, once there is exactly one."""

        def only() -> Node | None:
            leading = [node for node in self.nodes if is_up(node) and node.leads()]
            return leading[0] if len(leading) == 1 else None

        found = eventually(lambda: only() or False, 30)
        assert isinstance(found, Node)
        return found

    def close(self) -> None:
        self._stack.close()


def is_up(node: Node) -> bool:
    return node.process is not None and not node.process.ended()
