"""Servers with several processes: each has its own agent, and no record is lost or duplicated."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.guard_server import GuardServer
from support.process import eventually

from adapters.shop import Shop, wrong_words


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("name", ["flask", "django"])
def test_gunicorn_workers_report_each_request_once(
    server: GuardServer, open_shop: Callable[..., Shop], name: str, preload: bool
) -> None:
    shop = open_shop(name, "--workers", "2", *(["--preload"] if preload else []))
    served: list[int] = []

    def both_workers_have_served() -> bool:
        with ThreadPoolExecutor(8) as customers:
            served.extend(customers.map(lambda _: shop.status("/"), range(16)))
        return len(set(re.findall(r"served by <(\d+)>", shop.process.output()))) == 2

    assert eventually(both_workers_have_served)
    assert set(served) == {200}
    log = shop.stop()
    assert wrong_words(log) == []
    assert server.counts("metrics") == {"response_time": len(served), "request_count": len(served)}


@pytest.mark.parametrize("name", ["fastapi", "django-asgi"])
def test_uvicorn_workers_report_each_request_once(
    server: GuardServer, open_shop: Callable[..., Shop], name: str
) -> None:
    shop = open_shop(name, "--workers", "2")
    eventually(lambda: shop.process.output().count("Application startup complete.") == 2)

    with ThreadPoolExecutor(8) as customers:
        served = Counter(customers.map(lambda _: shop.status("/"), range(40)))

    assert served == {200: 40}
    log = shop.stop()
    assert wrong_words(log) == []
    assert server.counts("metrics") == {"response_time": 40, "request_count": 40}
