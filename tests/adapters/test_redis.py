"""Guards with Redis: records survive the process that accepted them, and are stored once."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis
from support.guard_server import GuardServer
from support.process import eventually

from adapters.shop import Shop


@pytest.mark.parametrize("name", ["fastapi-redis", "flask-redis"])
def test_records_of_a_killed_app_are_stored_once(
    server: GuardServer, open_shop: Callable[..., Shop], redis_url: str, name: str
) -> None:
    shop = open_shop(name, REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        server.stop()
        for _ in range(50):
            assert shop.status("/") == 200
            assert shop.status("/", headers={"User-Agent": "sqlmap"}) == 403
        # No requests meanwhile, because requests are records themselves.
        taken = eventually(lambda: all_kept(client, shop))
        assert len(taken) >= 150

        killed = kill(shop)
        server.start()
        revive(shop, killed)

        assert eventually(lambda: taken <= stored(server))
        assert eventually(lambda: not kept(client) & taken)
    keys = [record["idempotency_key"] for record in records(server)]
    assert len(keys) == len(set(keys))


def kill(shop: Shop) -> int:
    """Kills the serving process; returns its id."""
    pid: int = shop.request("/").json()["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def revive(shop: Shop, killed: int) -> None:
    """Starts another serving process; gunicorn does that itself."""
    assert shop.process.child
    if killed == shop.process.child.pid:
        shop.process.child.wait()
        shop.start()
    eventually(lambda: shop.request("/").json()["pid"] != killed)


def kept(client: Any) -> set[str]:
    """The idempotency keys of the records in Redis."""
    values = [client.get(key) or "[]" for key in client.keys("guard_core:agent_*:group_*")]
    return {record["idempotency_key"] for value in values for record in json.loads(value)}


def all_kept(client: Any, shop: Shop) -> set[str]:
    """The number of records in Redis, if Redis holds all that the app has accepted."""
    ledger = shop.request("/telemetry").json()["ledger"]
    found = kept(client)
    return found if ledger["queued"] <= len(found) else set()


def records(server: GuardServer) -> list[dict[str, Any]]:
    return [record for kind in ("events", "metrics") for record in server.records(kind)]


def stored(server: GuardServer) -> set[str]:
    return {record["idempotency_key"] for record in records(server)}
