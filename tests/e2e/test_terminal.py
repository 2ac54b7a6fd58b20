"""The commands that ask a running server, in a terminal."""

import os
import pty
import struct
import termios
from datetime import datetime, timedelta, timezone
from fcntl import ioctl
from pathlib import Path

import pytest
import requests
from support.guard_server import ADMIN_TOKEN, API_KEY, GuardServer
from support.process import PATIENCE_SECONDS

COLOUR = "\x1b[36m"


def shown(server: GuardServer, width: int, *arguments: str, **environment: str) -> list[str]:
    """The lines that a command shows in a terminal of a width. It must succeed."""
    command = [str(server.binary), *arguments]
    variables = {
        "GUARD_SERVER_URL": server.url,
        "GUARD_SERVER_TOKEN": ADMIN_TOKEN,
        "TERM": "xterm-256color",
        **environment,
    }
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        os.execve(command[0], command, variables)
    text = b""
    while piece := read(terminal):
        text += piece
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, text.decode()
    return text.decode().splitlines()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what Linux answers when the program has ended
        return b""


@pytest.fixture
def attacked(server: GuardServer) -> GuardServer:
    """A server with events of the last hours."""
    now = datetime.now(timezone.utc)
    kinds = ["penetration_attempt", "rate_limited", "suspicious_request"]
    events = [
        {
            "timestamp": (now - timedelta(minutes=5 * number)).isoformat(),
            "event_type": kinds[number % 3],
            "ip_address": f"203.0.113.{number % 7}",
            "action_taken": "request_blocked",
            "endpoint": "/api/v1/orders/{order_id}/lines",
            "reason": "SQL injection in the query parameter id of a request",
        }
        for number in range(250)
    ]
    answer = requests.post(
        f"{server.url}/api/v1/events",
        json={"project_id": "default", "batch_id": "1", "events": events},
        headers={"X-API-Key": API_KEY},
        timeout=PATIENCE_SECONDS,
    )
    assert answer.status_code == 200, answer.text
    return server


@pytest.mark.parametrize("width", [80, 160])
def test_tables_and_charts_fit_the_terminal(attacked: GuardServer, width: int) -> None:
    for arguments in [
        ("query",),
        ("top", "--by", "ip_address"),
        ("series",),
        ("series", "--by", "event_type"),
        ("series", "--by", "event_type", "--from", "-30d", "--tz", "Asia/Kolkata"),
    ]:
        lines = shown(attacked, width, *arguments, NO_COLOR="1")
        assert len(lines) > 5
        assert max(len(line) for line in lines) <= width, lines
        assert not any("\x1b" in line for line in lines), lines
    chart = shown(attacked, width, "series", "--by", "event_type", NO_COLOR="1")
    bars = next(line for line in chart if line.lstrip().startswith("0 ┼"))
    assert len(bars) > width * 0.7, "the chart uses the terminal"


def test_a_narrow_table_keeps_times_and_addresses_whole(attacked: GuardServer) -> None:
    first = shown(attacked, 80, "query", "--limit", "3")[1].split()
    assert datetime.fromisoformat(first[0])
    assert first[2] == "203.0.113.0"
    assert first[-1].endswith("…")


def test_colours_are_for_terminals_that_want_them(attacked: GuardServer) -> None:
    series = ("series", "--by", "event_type")
    plain = shown(attacked, 80, *series, NO_COLOR="1")
    coloured = shown(attacked, 80, *series)
    assert any(COLOUR in line for line in coloured)
    assert not any("\x1b" in line for line in shown(attacked, 80, *series, TERM="dumb"))
    # The legend has the colour of its part of the bars.
    name = next(line for line in coloured if "penetration_attempt" in line)
    assert name.startswith(COLOUR)
    assert len(plain) == len(coloured)


def test_an_export_shows_its_progress(attacked: GuardServer, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    lines = shown(attacked, 80, "export", "--output", str(file))
    assert lines[-1].endswith(" MiB")
    assert len(file.read_text().splitlines()) == 250
