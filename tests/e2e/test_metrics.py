"""The metrics of every request arrive exactly once."""

from collections import Counter
from collections.abc import Callable

from support.example_app import ExampleApp
from support.guard_server import GuardServer
from support.process import eventually


def test_every_request_is_counted_exactly_once(
    server: GuardServer, start_app: Callable[..., ExampleApp]
) -> None:
    app = start_app(server.url, GUARD_DETECTION="off")
    for _ in range(250):
        assert app.request("/") == 200
    for _ in range(30):
        assert app.request("/items/99") == 404
    app.stop()

    assert server.counts("metrics") == {
        "response_time": 280,
        "request_count": 280,
        "error_rate": 30,
    }
    metrics = server.records("metrics")
    assert len({metric["idempotency_key"] for metric in metrics}) == 590
    endpoints = Counter(
        (metric["tags"]["endpoint"], metric["tags"]["status"])
        for metric in metrics
        if metric["metric_type"] == "response_time"
    )
    assert endpoints == {("/", "200"): 250, ("/items/99", "404"): 30}


def test_a_lone_request_is_reported_after_the_flush_interval(
    server: GuardServer, start_app: Callable[..., ExampleApp]
) -> None:
    app = start_app(server.url, GUARD_DETECTION="off", GUARD_AGENT_FLUSH_INTERVAL="1")

    app.request("/items")

    expected = {"response_time": 1, "request_count": 1}
    assert eventually(lambda: server.counts("metrics") == expected)


def test_an_app_delivers_queued_records_at_exit(
    server: GuardServer, start_app: Callable[..., ExampleApp]
) -> None:
    app = start_app(server.url, GUARD_DETECTION="off", GUARD_AGENT_FLUSH_INTERVAL="3600")
    for _ in range(7):
        app.request("/items")
    app.stop()

    assert server.counts("metrics") == {"response_time": 7, "request_count": 7}
