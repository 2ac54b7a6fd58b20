"""All handlers of an application share one agent, however many there are and whenever created."""

from collections.abc import Callable

import pytest
from support.guard_server import GuardServer

from adapters.shop import Shop, wrong_words


@pytest.mark.parametrize("starting", ["lifespan", "events"])
def test_handlers_created_at_any_time_share_one_agent(
    server: GuardServer, open_shop: Callable[..., Shop], starting: str
) -> None:
    shop = open_shop("fastapi-moments", STARTING=starting)
    start = "lifespan" if starting == "lifespan" else "startup"

    taken = shop.request("/").json()
    in_a_thread = shop.request("/in-a-thread").json()
    log = shop.stop()

    assert taken.keys() == {"import", start, "request"}
    assert len(set(taken.values())) == 1
    # Two metrics of the first request, from the guard's handler, and one event per handler here.
    assert in_a_thread == dict.fromkeys(("thread", "import"), taken["import"] + 4)
    made = {name: count for name, count in server.counts("events").items() if "made_at" in name}
    assert made == {
        "made_at_import": 2,
        f"made_at_{start}": 1,
        "made_at_request": 1,
        "made_at_thread": 1,
    }
    assert server.counts("metrics") == {"response_time": 2, "request_count": 2}
    assert wrong_words(log) == []


def test_handlers_of_synchronous_code_share_one_agent(
    server: GuardServer, open_shop: Callable[..., Shop]
) -> None:
    shop = open_shop("flask-moments")

    taken = shop.request("/").json()
    log = shop.stop()

    assert taken.keys() == {"import", "factory", "request"}
    assert len(set(taken.values())) == 1
    made = {name: count for name, count in server.counts("events").items() if "made_at" in name}
    assert made == {"made_at_import": 1, "made_at_factory": 1, "made_at_request": 1}
    assert server.counts("metrics") == {"response_time": 1, "request_count": 1}
    assert wrong_words(log) == []
