"""The network in trouble: backends that keep an agent waiting."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from harness.environment import BENCH, BUILD, run

STALLED_DNS = BUILD / "stalled_dns.so"


@dataclass(frozen=True)
class Endpoint:
    """Where an agent is to report to, and what its process needs for that."""

    url: str
    mode: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def stalled_dns() -> Iterator[Endpoint]:
    """A host whose look-up never ends."""
    if not STALLED_DNS.exists():
        source = BENCH / "scripts" / "stalled_dns.c"
        run("cc", "-shared", "-fPIC", "-o", STALLED_DNS, source)
    yield Endpoint("https://stalled.test", settings={"LD_PRELOAD": str(STALLED_DNS)})


@contextmanager
def hung_tls() -> Iterator[Endpoint]:
    """The connection is made, but nobody ever answers the ClientHello."""
    with listener() as address:
        yield Endpoint(f"https://{address}")


@contextmanager
def silent_backend() -> Iterator[Endpoint]:
    """The system takes connections and requests; nobody ever answers them."""
    with listener() as address:
        yield Endpoint(f"http://{address}")


@contextmanager
def full_queue() -> Iterator[Endpoint]:
    """The backend is away, connections are refused, and there is room for 100 records."""
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
