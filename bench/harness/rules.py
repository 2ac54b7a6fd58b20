"""Measures the time from a rule change to a 403: bans on a real guard-server, against an app."""

import http.client
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment import BENCH, Environment, say
from harness.processes import EXAMPLE_APP, announced, running

API_KEY = "fg_benchmark_0123456789abcdef"
ADMIN_TOKEN = "gt_benchmark_0123456789abcdef"

# The interval between two requests of the banned address.
PAUSE_SECONDS = 0.005

# A ban that takes longer than this counts as missing.
LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Host:
    """An HTTP client with one connection to a server."""

    connection: http.client.HTTPConnection

    @classmethod
    def at(cls, address: str) -> "Host":
        return cls(http.client.HTTPConnection(urlsplit(address).netloc, timeout=30))

    def ask(self, method: str, path: str, headers: dict[str, str], body: object = None) -> int:
        """The status of the response."""
        sent = None if body is None else json.dumps(body)
        self.connection.request(method, path, sent, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


@dataclass(frozen=True)
class Server:
    """A running guard-server."""

    address: str
    pid: int


def effects(environment: Environment, bans: int) -> tuple[list[float], list[float]]:
    """Seconds from the start of each API call to the first response that follows the change.

    For each address in turn: until a ban gives 403, and until an unban gives 200.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
        app(environment, backend.address) as shop,
    ):
        control, client = Host.at(backend.address), Host.at(shop)
        until(client, "203.0.113.1", 200)
        refused, allowed = [], []
        for number in range(1, bans + 1):
            address = f"203.0.113.{number}"
            if until(client, address, 200) and number % 10 == 0:
                say(f"rules: ban {number} of {bans}")
            refused.append(effect(control, client, "bans", address, 403))
            allowed.append(effect(control, client, "unbans", address, 200))
    return refused, allowed


def effect(control: Host, client: Host, collection: str, address: str, status: int) -> float:
    """Bans the address, or lifts its ban, and waits until the app's response shows the change."""
    begun = time.perf_counter()
    change(control, collection, address)
    return until(client, address, status) - begun


def change(control: Host, collection: str, address: str) -> None:
    """Adds the address to "bans", or to "unbans", which lifts its ban."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    path = f"/api/v1/projects/default/rules/{collection}"
    answer = control.ask("POST", path, headers, {"ip": address})
    if answer != 200:
        raise SystemExit(f"guard-server answered {answer} to an address for {collection}")


def until(client: Host, address: str, status: int) -> float:
    """The time when the app first answered this address with this status."""
    limit = time.perf_counter() + LIMIT_SECONDS
    while (answer := client.ask("GET", "/items", {"X-Forwarded-For": address})) != status:
        if time.perf_counter() > limit:
            raise SystemExit(f"{address}: still {answer}, not {status}, after {LIMIT_SECONDS} s")
        time.sleep(PAUSE_SECONDS)
    return time.perf_counter()


@contextmanager
def server(
    environment: Environment, folder: Path, more: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A guard-server with its own data directory, and perhaps more settings."""
    binary = environment.program("guard-server")
    command = [binary, "--listen", "127.0.0.1:0", "--data-dir", folder]
    settings = {"GUARD_SERVER_API_KEY": API_KEY, "GUARD_SERVER_ADMIN_TOKEN": ADMIN_TOKEN}
    with running(command, settings | dict(more or {})) as process:
        yield Server(announced(process), process.pid)


@contextmanager
def app(environment: Environment, backend: str) -> Iterator[str]:
    """Runs the example app with our agent at default settings; yields its address."""
    command = [environment.ours.python, BENCH / "scripts" / "app.py", EXAMPLE_APP]
    settings = {
        "GUARD_AGENT_API_KEY": API_KEY,
        "GUARD_AGENT_ENDPOINT": backend,
        # Raises the app's default limit of 120 requests a minute.
        "GUARD_DETECTION": "off",
    }
    with running(command, settings) as process:
        yield announced(process)
