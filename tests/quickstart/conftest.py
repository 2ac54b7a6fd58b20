"""Fixtures of the quickstart's tests."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from quickstart.app import App


@pytest.fixture
def api_key() -> str:
    """The API key of the programs."""
    return "YOUR_API_KEY"


@pytest.fixture
def start_app(tmp_path: Path, cleanup: ExitStack) -> Callable[..., App]:
    """Starts an application from its file, with settings in its environment."""

    def start(main: Path, **settings: str) -> App:
        app = App(main, tmp_path)
        cleanup.callback(app.process.stop)
        return app.start({"HOME": str(tmp_path), **settings})

    return start
