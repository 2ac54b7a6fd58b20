"""The programs in the documentation work exactly as printed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support import ROOT
from support.guard_server import API_KEY, GuardServer
from support.process import PATIENCE_SECONDS, Process, eventually, free_port
from support.rules import Rules

from adapters.shop import GUNICORN, UVICORN, wrong_words

PAGES = ROOT / "docs" / "frameworks"
SERVED: dict[str, tuple[list[str | Path], str]] = {
    "fastapi": ([*UVICORN, "main:app"], "Uvicorn running on"),
    "flask": ([*GUNICORN, "main:app"], "Listening at:"),
    "tornado": ([sys.executable, "main.py"], "listening on"),
}

# The status page of a project that Django generated.
DJANGO_URLS = """
from django.http import JsonResponse
from django.urls import path

from mysite.telemetry import agent

urlpatterns = [path("telemetry", lambda request: JsonResponse(agent.get_stats()))]
"""


def programs(page: Path, server: GuardServer) -> list[str]:
    text = page.read_text().replace("http://127.0.0.1:8400", server.url)
    return re.findall(r"```python\n(.*?)```", text.replace("fg_...", API_KEY), re.DOTALL)


@pytest.fixture
def assert_reports(
    server: GuardServer, tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Serves the program in the temporary folder and checks the records of its one request."""

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
def test_a_page_program_reports_its_requests(
    page: str, server: GuardServer, tmp_path: Path, assert_reports: Callable[..., None]
) -> None:
    program, *_ = programs(PAGES / f"{page}.md", server)
    (tmp_path / "main.py").write_text(program.replace("8404", str(free_port())))
    assert_reports(*SERVED[page])


@pytest.fixture
def django_project(server: GuardServer, tmp_path: Path) -> Path:
    """A project from `django-admin startproject`, with the page's settings pasted in."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", tmp_path], check=True)
    settings, telemetry = programs(PAGES / "django.md", server)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write(settings)
    (tmp_path / "mysite" / "telemetry.py").write_text(telemetry)
    (tmp_path / "mysite" / "urls.py").write_text(DJANGO_URLS)
    return tmp_path


@pytest.mark.usefixtures("django_project")
@pytest.mark.parametrize(
    ("command", "listening"),
    [
        ([*GUNICORN, "mysite.wsgi"], "Listening at:"),
        ([*UVICORN, "mysite.asgi:application"], "Uvicorn running on"),
    ],
    ids=["wsgi", "asgi"],
)
def test_a_new_django_project_with_the_pages_settings_reports_its_requests(
    command: list[str | Path], listening: str, assert_reports: Callable[..., None]
) -> None:
    assert_reports(command, listening)


def test_manage_py_works_without_the_agents_key(django_project: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GUARD_AGENT_API_KEY"}
    check = [sys.executable, "manage.py", "check"]
    subprocess.run(check, cwd=django_project, env=environment, check=True)


def test_the_readme_application_delivers_all_records_at_exit(
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

    assert [answer.status_code for answer in answers] == [200] * 3
    assert server.counts("metrics") == dict.fromkeys(("response_time", "request_count"), 3)
    assert wrong_words(process.output()) == []


def test_the_readme_event_is_delivered_at_exit(server: GuardServer, tmp_path: Path) -> None:
    _, program = programs(ROOT / "README.md", server)
    (tmp_path / "report.py").write_text(f"{program}\nimport asyncio\n\nasyncio.run(report())\n")
    subprocess.run(
        [sys.executable, "report.py"], cwd=tmp_path, check=True, timeout=PATIENCE_SECONDS
    )
    assert server.counts("events") == {"ip_banned": 1}


@pytest.mark.parametrize("blocks", [1, 2], ids=["as-it-is", "with-the-callback"])
def test_the_application_of_the_page_on_rules_follows_them(
    blocks: int,
    server: GuardServer,
    tmp_path: Path,
    cleanup: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pasted = programs(ROOT / "docs" / "rules.md", server)
    assert len(pasted) == 2
    (tmp_path / "main.py").write_text("\n\n".join(pasted[:blocks]))
    monkeypatch.chdir(tmp_path)
    process = Process([*UVICORN, "main:app"], tmp_path / "app.log")
    cleanup.callback(process.stop)

    # With buffers, a line is written in one piece, and the log of another thread cannot tear it.
    url = process.start({"PYTHONUNBUFFERED": ""}, "Uvicorn running on")
    assert requests.get(url, timeout=PATIENCE_SECONDS).status_code == 200
    version = Rules(server).add("limits", endpoint="/", requests=1, window_s=600)

    def is_limited() -> bool:
        return requests.get(url, timeout=PATIENCE_SECONDS).status_code == 429

    assert eventually(is_limited)
    if blocks > 1:
        assert eventually(lambda: f"rules {version}\n" in process.output())
