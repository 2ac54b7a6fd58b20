"""Each guard applies the server's rules."""

from collections.abc import Callable

import pytest
from support.guard_server import GuardServer
from support.process import eventually
from support.rules import Rules

from adapters.shop import SHOPS, Shop, wrong_words

BANNED, BANNED_LATER = "203.0.113.7", "203.0.113.8"

# Workers of uvicorn import the app inside their event loop, a single process before it.
SERVED = [(name, ()) for name in SHOPS] + [("django-asgi", ("--workers", "2"))]


@pytest.mark.parametrize(
    ("name", "options"), SERVED, ids=[" ".join([name, *options]) for name, options in SERVED]
)
def test_an_address_banned_by_the_rules_is_blocked(
    server: GuardServer,
    open_shop: Callable[..., Shop],
    name: str,
    options: tuple[str, ...],
) -> None:
    rules = Rules(server)
    rules.add("bans", ip=BANNED)

    shop = open_shop(name, *options)

    # The guard asks for the rules on its first request.
    assert eventually(lambda: shop.status("/", BANNED) == 403)
    assert shop.status("/") == 200
    # Later changes apply at once, long before the guard's next poll.
    rules.add("bans", ip=BANNED_LATER)
    assert eventually(lambda: shop.status("/", BANNED_LATER) == 403)
    log = shop.stop()
    assert wrong_words(log) == []
    types = server.counts("events")
    assert types["dynamic_rule_applied"] >= 1
    assert types["ip_blocked"] >= 1
