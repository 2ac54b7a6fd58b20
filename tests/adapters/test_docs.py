"""The programs of the documentation's pages work as they stand there."""

import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from guard_server import API_KEY, GuardServer
from process import Process
from shop import GUNICORN, UVICORN, wrong_words

PAGES = Path(__file__).parents[2] / "docs" / "frameworks"
SERVED: dict[str, tuple[list[str | Path], str]] = {
    "fastapi": ([*UVICORN, "main:app"], "Uvicorn running on"),
    "flask": ([*GUNICORN, "main:app"], "Listening at:"),
    "tornado": ([sys.executable, "main.py"], "listening on"),
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("page", SERVED)
def test_a_page_s_program_reports_what_it_serves(
    page: str,
    server: GuardServer,
    tmp_path: Path,
    cleanup: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [program, *_] = re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.S)
    program = program.replace("http://127.0.0.1:8400", server.url)
    (tmp_path / "main.py").write_text(program.replace("8404", str(free_port())))
    monkeypatch.chdir(tmp_path)
    command, listening = SERVED[page]
    process = Process(command, tmp_path / "app.log")
    cleanup.callback(process.stop)

    url = process.start({"GUARD_AGENT_API_KEY": API_KEY}, listening)
    answer = requests.get(f"{url}/telemetry", timeout=30)
    process.stop()

    assert answer.json()["running"] is True
    assert server.counts("metrics") == {"response_time": 1, "request_count": 1}
    assert wrong_words(process.output()) == []
