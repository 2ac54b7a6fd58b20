"""Records survive a server outage: none is lost, and none is stored twice."""

import socket
from collections.abc import Callable

from support.example_app import ExampleApp
from support.guard_server import GuardServer
from support.process import eventually
from support.relay import Exchange, Relay


def send(app: ExampleApp, requests: int) -> None:
    for _ in range(requests):
        assert app.request("/items") == 200


def all_stored(server: GuardServer, requests: int) -> bool:
    return server.counts("metrics") == {"response_time": requests, "request_count": requests}


def keys_are_unique(server: GuardServer) -> bool:
    keys = [metric["idempotency_key"] for metric in server.records("metrics")]
    return len(keys) == len(set(keys))


def test_a_server_that_starts_late_gets_everything(
    new_server: Callable[..., GuardServer], start_app: Callable[..., ExampleApp]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(60)
        port = nobody.getsockname()[1]
        app = start_app(f"http://127.0.0.1:{port}", GUARD_DETECTION="off")
        send(app, 120)
        # The agent has connected and gets no answer; the connection is then closed.
        nobody.accept()[0].close()

    server = new_server().start(port)

    assert eventually(lambda: all_stored(server, 120))
    assert keys_are_unique(server)


def test_a_killed_and_restarted_server_misses_nothing(
    new_server: Callable[..., GuardServer], start_app: Callable[..., ExampleApp]
) -> None:
    server = new_server().start()
    app = start_app(server.url, GUARD_DETECTION="off")
    send(app, 150)
    eventually(lambda: server.counts("metrics"))
    server.kill()
    send(app, 150)
    server.start()
    send(app, 50)

    assert eventually(lambda: all_stored(server, 350))
    assert keys_are_unique(server)


def test_a_batch_whose_acknowledgement_was_lost_is_stored_once(
    new_server: Callable[..., GuardServer],
    start_relay: Callable[[GuardServer], Relay],
    start_app: Callable[..., ExampleApp],
) -> None:
    server = new_server().start()
    relay = start_relay(server)

    def crash_once(exchange: Exchange) -> bool:
        """Kills the server after it stored the first batch, before the agent gets the response."""
        if not exchange.carries_records or len(relay.batches()) > 1:
            return True
        server.kill()
        server.start()
        return False

    relay.answered = crash_once
    app = start_app(relay.url, GUARD_DETECTION="off")
    send(app, 120)

    assert eventually(lambda: all_stored(server, 120))
    first, *others = relay.batches()
    assert first.status == 200
    assert first.body in [batch.body for batch in others], "the batch was not sent again as it was"
    assert keys_are_unique(server)
