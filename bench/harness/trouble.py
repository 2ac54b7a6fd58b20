"""Network failures: backends that keep an agent waiting."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from harness.environment import BENCH, BUILD, run

STALLED_DNS = BUILD / "stalled_dns.so"


@dataclass(frozen=True)
class Endpoint:
    """The endpoint for an agent, and the environment that its process needs."""

    url: str
    mode: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def stalled_dns() -> Iterator[Endpoint]:
    """A host whose DNS lookup never ends."""
    if not STALLED_DNS.exists():
        source = BENCH / "scripts" / "stalled_dns.c"
        run("cc", "-shared", "-fPIC", "-o", STALLED_DNS, source)
    yield Endpoint("https://stalled.test", settings={"LD_PRELOAD": str(STALLED_DNS)})


@contextmanager
def hung_tls() -> Iterator[Endpoint]:
    """A server that accepts the connection but never answers the ClientHello."""
    with listener() as address:
        yield Endpoint(f"https://{address}")


@contextmanager
def silent_backend() -> Iterator[Endpoint]:
    """A server whose system accepts connections and requests, but that never answers."""
    with listener() as address:
        yield Endpoint(f"http://{address}")


@contextmanager
def full_queue() -> Iterator[Endpoint]:
    """A backend that is down: connections are refused, and the queue holds 100 records."""
    with listener() as address:
        pass
    yield Endpoint(f"http://{address}", mode="full")


@contextmanager
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


TROUBLES: Mapping[str, Callable[[], AbstractContextManager[Endpoint]]] = {
    "stalled DNS": stalled_dns,
    "hung TLS handshake": hung_tls,
    "silent backend": silent_backend,
    "full queue": full_queue,
}
