"""The demo ends by itself, delivers all it produced, and reports why it cannot run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from support import ROOT
from support.process import free_port

DEMO = ROOT / "examples" / "fastapi_app" / "demo"


def run_demo(server: Path, folder: Path, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, DEMO, "--server", server, "--dir", folder],
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_a_short_demo_delivers_what_it_produced(server_binary: Path, tmp_path: Path) -> None:
    ports = {"DEMO_SERVER_PORT": free_port(), "DEMO_APP_PORT": free_port()}

    demo = run_demo(server_binary, tmp_path, DEMO_SECONDS=3, **ports)

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "delivered = produced" in demo.stdout
    assert f"dashboard           http://127.0.0.1:{ports['DEMO_SERVER_PORT']}/" in demo.stdout
    assert "  user_agent_blocked" in demo.stdout
    assert f"http://127.0.0.1:{ports['DEMO_SERVER_PORT']}/setup?token=" in demo.stdout


def test_a_port_in_use_is_named_with_its_setting(server_binary: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        demo = run_demo(server_binary, tmp_path, DEMO_SERVER_PORT=free_port(), DEMO_APP_PORT=port)

    assert demo.returncode == 2
    assert f"port {port} cannot be used" in demo.stderr
    assert "DEMO_APP_PORT" in demo.stderr


def test_a_missing_server_is_reported(tmp_path: Path) -> None:
    demo = run_demo(tmp_path / "guard-server", tmp_path)

    assert demo.returncode == 2
    assert "no guard-server at" in demo.stderr
