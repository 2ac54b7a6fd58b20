"""Many agents that wait for rules on one guard-server, each with its own connection."""

import re
import resource
import selectors
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment import Environment, say
from harness.rules import API_KEY, Host, Server, change, server

# The time limit for an agent's answer.
LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Cost:
    """Resident memory of the server, and the seconds from the change to each agent's answer."""

    idle_mib: float
    holding_mib: float
    peak_mib: float
    arrivals: list[float]


def measure(environment: Environment, agents: int) -> Cost:
    """Lets the given number of agents wait, then bans one address."""
    raise_file_limit(agents)
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
        ExitStack() as connections,
    ):
        control = Host.at(backend.address)
        change(control, "bans", "203.0.113.1")
        idle = memory(backend, "VmRSS")
        tag = tag_in_force(backend)
        waiting = [connections.enter_context(wait(backend, tag)) for _ in range(agents)]
        until_held(backend, agents)
        holding = memory(backend, "VmRSS")
        say(f"rules: {agents} agents wait")
        begun = time.perf_counter()
        change(control, "bans", "203.0.113.2")
        arrivals = [at - begun for at in answers(waiting)]
        return Cost(idle, holding, memory(backend, "VmHWM"), arrivals)


def raise_file_limit(agents: int) -> None:
    """Raises this process's limit of open files, one per agent. The server raises its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = agents + 100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{hard} open files are allowed; {wanted} are needed: see ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def memory(backend: Server, which: str) -> float:
    """The value of a line in the server's /proc status, in MiB."""
    status = Path(f"/proc/{backend.pid}/status").read_text()
    line = re.search(rf"{which}:\s+(\d+) kB", status)
    if line is None:
        raise SystemExit(f"no {which} in /proc/{backend.pid}/status")
    return int(line[1]) / 1024


def request(headers: str) -> bytes:
    return (
        f"GET /api/v1/rules HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n{headers}\r\n"
    ).encode()


def connect(backend: Server) -> socket.socket:
    address = urlsplit(backend.address)
    return socket.create_connection((address.hostname, address.port), timeout=LIMIT_SECONDS)


def tag_in_force(backend: Server) -> str:
    with connect(backend) as connection:
        connection.sendall(request("Connection: close\r\n"))
        with connection.makefile("rb") as answer:
            found = re.search(rb"(?i)etag: (\S+)", answer.read())
    if found is None:
        raise SystemExit("guard-server answered the rules without a tag")
    return found[1].decode()


def wait(backend: Server, tag: str) -> socket.socket:
    """An agent that knows the rules with this tag and waits for new ones."""
    connection = connect(backend)
    connection.sendall(request(f"If-None-Match: {tag}\r\nPrefer: wait={LIMIT_SECONDS}\r\n"))
    return connection


def until_held(backend: Server, agents: int) -> None:
    """Waits until the server has accepted all connections and processed their requests."""
    files = Path(f"/proc/{backend.pid}/fd")
    limit = time.monotonic() + LIMIT_SECONDS
    used = -1.0
    while sum(1 for _ in files.iterdir()) < agents or cpu_seconds(backend) != used:
        if time.monotonic() > limit:
            raise SystemExit(f"guard-server did not take {agents} connections")
        used = cpu_seconds(backend)
        # The server checks for changes twice a second. The CPU clock does not resolve that.
        time.sleep(0.2)


def cpu_seconds(backend: Server) -> float:
    fields = Path(f"/proc/{backend.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def answers(waiting: list[socket.socket]) -> list[float]:
    """The time when each agent has received the head and so the document: both arrive together."""
    arrivals = []
    limit = time.perf_counter() + LIMIT_SECONDS
    with selectors.DefaultSelector() as selector:
        for connection in waiting:
            selector.register(connection, selectors.EVENT_READ, connection)
        while len(arrivals) < len(waiting):
            ready = selector.select(LIMIT_SECONDS)
            at = time.perf_counter()
            if not ready or at > limit:
                raise SystemExit(f"only {len(arrivals)} of {len(waiting)} agents were answered")
            for key, _ in ready:
                connection: socket.socket = key.data
                selector.unregister(connection)
                if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise SystemExit("an agent that waits was answered otherwise than by 200")
                arrivals.append(at)
    return arrivals
