"""`make wheel` builds a package that installs and works on a machine without Rust."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.guard_server import API_KEY, GuardServer


@pytest.fixture
def without_rust(tmp_path: Path) -> dict[str, str]:
    """An environment without any Rust tool on its path."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CARGO_HOME": str(tmp_path)}


def test_a_wheel_works_in_a_new_environment_without_rust(
    server: GuardServer, tmp_path: Path, without_rust: dict[str, str]
) -> None:
    wheels = tmp_path / "wheels"
    make = ["make", "--silent", "wheel", f"PYTHON={sys.executable}", f"WHEELS={wheels}"]
    subprocess.run(make, cwd=ROOT, check=True)
    [wheel] = wheels.glob("fastapi_guard_agent-*.whl")
    assert f"-cp3{sys.version_info.minor}-manylinux" in wheel.name

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:", wheel]
    subprocess.run(pip, check=True, env=os.environ | without_rust)

    sent = subprocess.run(
        [programs / "guard-agent", "send-test-event", "--endpoint", server.url],
        env=without_rust | {"GUARD_AGENT_API_KEY": API_KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert server.counts("events") == {"agent_test": 1}
