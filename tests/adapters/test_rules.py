"""The rules that the server gives are applied by each guard."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from guard_server import GuardServer
from process import eventually
from shop import SHOPS, Shop, wrong_words

BANNED = "203.0.113.7"

# Workers of uvicorn import the app inside their event loop, a single process before it.
SERVED = [(name, ()) for name in SHOPS] + [("django-asgi", ("--workers", "2"))]


@pytest.mark.parametrize(
    ("name", "options"), SERVED, ids=[" ".join([name, *options]) for name, options in SERVED]
)
def test_an_address_that_the_rules_ban_is_kept_out(
    server: GuardServer,
    server_binary: Path,
    tmp_path: Path,
    open_shop: Callable[..., Shop],
    name: str,
    options: tuple[str, ...],
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"rule_id": "bans", "version": 2, "ip_blacklist": [BANNED]}))
    set_rules: list[str | Path] = [
        server_binary,
        "rules",
        "set",
        "--data-dir",
        server.folder / "data",
        rules,
    ]
    subprocess.run(set_rules, check=True, timeout=30)

    shop = open_shop(name, *options)

    # The guard asks for the rules when its first request comes.
    assert eventually(lambda: shop.status("/", BANNED) == 403, seconds=30)
    assert shop.status("/") == 200
    log = shop.stop()
    assert wrong_words(log) == []
    types = server.counts("events")
    assert types["dynamic_rule_applied"] >= 1
    assert types["ip_blocked"] >= 1
