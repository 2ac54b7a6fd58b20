"""The programs of the documentation's pages work as they stand there."""

import re
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from shop import EXAMPLES, GUNICORN, UVICORN, wrong_words
from support import ROOT
from support.guard_server import API_KEY, GuardServer
from support.process import PATIENCE_SECONDS, Process

PAGES = ROOT / "docs" / "frameworks"
SERVED: dict[str, tuple[list[str | Path], str]] = {
    "fastapi": ([*UVICORN, "main:app"], "Uvicorn running on"),
    "flask": ([*GUNICORN, "main:app"], "Listening at:"),
    "tornado": ([sys.executable, "main.py"], "listening on"),
}

DJANGO_PROJECT = """
SECRET_KEY = "of-this-test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def programs(page: Path, server: GuardServer) -> list[str]:
    text = page.read_text().replace("http://127.0.0.1:8400", server.url)
    return re.findall(r"```python\n(.*?)```", text.replace("fg_...", API_KEY), re.DOTALL)


@pytest.fixture
def assert_reports(
    server: GuardServer, tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Serves the program in the temporary folder, and looks for what its one request is worth."""

    def serve(command: list[str | Path], listening: str) -> None:
        monkeypatch.chdir(tmp_path)
        process = Process(command, tmp_path / "app.log")
        cleanup.callback(process.stop)

        url = process.start({"GUARD_AGENT_API_KEY": API_KEY}, listening)
        answer = requests.get(f"{url}/telemetry", timeout=PATIENCE_SECONDS)
        process.stop()

        assert answer.json()["running"] is True
        assert server.counts("metrics") == {"response_time": 1, "request_count": 1}
        assert wrong_words(process.output()) == []

    return serve


@pytest.mark.parametrize("page", SERVED)
def test_a_page_s_program_reports_what_it_serves(
    page: str, server: GuardServer, tmp_path: Path, assert_reports: Callable[..., None]
) -> None:
    program, *_ = programs(PAGES / f"{page}.md", server)
    (tmp_path / "main.py").write_text(program.replace("8404", str(free_port())))
    assert_reports(*SERVED[page])


@pytest.mark.parametrize(
    ("command", "listening"),
    [
        ([*GUNICORN, "wsgi"], "Listening at:"),
        ([*UVICORN, "asgi:application"], "Uvicorn running on"),
    ],
    ids=["wsgi", "asgi"],
)
def test_a_django_project_with_what_its_page_says_reports_what_it_serves(
    command: list[str | Path],
    listening: str,
    server: GuardServer,
    tmp_path: Path,
    assert_reports: Callable[..., None],
) -> None:
    settings, telemetry = programs(PAGES / "django.md", server)
    for name in ("urls.py", "wsgi.py", "asgi.py"):
        (tmp_path / name).write_text((EXAMPLES / "django" / name).read_text())
    (tmp_path / "settings.py").write_text(DJANGO_PROJECT + settings)
    (tmp_path / "telemetry.py").write_text(telemetry)
    assert_reports(command, listening)


def test_the_application_of_the_readme_reports_all_it_served_when_it_ends(
    server: GuardServer, tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *_ = programs(ROOT / "README.md", server)
    (tmp_path / "main.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    process = Process([*UVICORN, "main:app"], tmp_path / "app.log")
    cleanup.callback(process.stop)

    url = process.start({}, "Uvicorn running on")
    answers = [requests.get(url, timeout=PATIENCE_SECONDS) for _ in range(3)]
    process.stop()

    assert [answer.status_code for answer in answers] == [404] * 3
    assert server.counts("metrics") == dict.fromkeys(
        ("response_time", "request_count", "error_rate"), 3
    )
    assert wrong_words(process.output()) == []
