"""Fixtures of the adapters' tests: every guard from PyPI, unmodified, in its own server."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.guard_server import GuardServer

from adapters.shop import Shop


@pytest.fixture
def open_shop(server: GuardServer, tmp_path: Path, cleanup: ExitStack) -> Callable[..., Shop]:
    """Starts the app with the given name in `shop.COMMANDS`, reporting to `server`."""

    def start(name: str, *options: str, **settings: str) -> Shop:
        shop = Shop(name, tmp_path, server.url, options, settings)
        cleanup.callback(shop.stop)
        shop.start()
        return shop

    return start
