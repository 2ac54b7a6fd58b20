import socket
from urllib.parse import urlsplit

import pytest

from harness.cases import TROUBLE
from harness.trouble import TROUBLES


@pytest.mark.parametrize("trouble", ["hung TLS handshake", "silent backend"])
def test_connections_are_made_and_nothing_is_answered(trouble: str) -> None:
    with TROUBLES[trouble]() as endpoint:
        address = urlsplit(endpoint.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(b"x" * 1000)
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def test_the_backend_of_a_full_queue_refuses_connections() -> None:
    with TROUBLES["full queue"]() as endpoint:
        address = urlsplit(endpoint.url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port))


def test_every_trouble_gives_the_same_rows() -> None:
    figures = [row.figure for row in TROUBLE]
    wanted = [f"{name}: {key}" for name in TROUBLES for key in ("p50_us", "p99_us", "stall_ms")]
    assert figures == wanted
