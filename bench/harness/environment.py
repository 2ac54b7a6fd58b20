"""Sets up everything a run needs. Each missing part is installed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BENCH = REPOSITORY / "bench"
BUILD = REPOSITORY / ".build" / "bench"
TARGET = BUILD / "target"
REQUIREMENTS = BENCH / "requirements.txt"

PYTHON_PEERS = ("guard-agent==3.2.4", "fastapi-guard-agent==0.1.1")

# Prints the given requirements that are not installed, as `name==version`.
MISSING = """
import sys
from importlib.metadata import PackageNotFoundError, version
for requirement in sys.argv[1:]:
    name, _, wanted = requirement.partition("==")
    try:
        found = version(name)
    except PackageNotFoundError:
        found = None
    if found != wanted:
        print(requirement)
"""


@dataclass(frozen=True)
class Subject:
    """An agent and the Python interpreter of its environment."""

    name: str
    python: Path


@dataclass(frozen=True)
class Environment:
    """The programs that a run measures, and the tools it uses."""

    peers: Sequence[Subject]
    ours: Subject

    def program(self, name: str) -> Path:
        """A Rust program of the benchmark."""
        return TARGET / "release" / name


def prepare() -> Environment:
    """Sets everything up. A second run only checks."""
    require_wrk()
    peers = [python_peer(requirement) for requirement in PYTHON_PEERS]
    ours = python_ours()
    # One at a time, so that no program is built with features that another one requests.
    for package in ("sink", "record-peer", "record-ours"):
        build(package, BENCH)
    build("guard-server", REPOSITORY)
    return Environment(peers, ours)


def prepare_server() -> Environment:
    """Sets up what cases need that measure guard-server alone."""
    BUILD.mkdir(parents=True, exist_ok=True)
    build("guard-server", REPOSITORY)
    return Environment((), Subject("ours", Path(sys.executable)))


def require_wrk() -> None:
    if shutil.which("wrk"):
        return
    say("installing wrk")
    try:
        run("apt-get", "install", "--yes", "--quiet", "wrk")
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"wrk: not found, and apt-get could not install it ({error}); install wrk and run again"
        ) from error


def python_peer(requirement: str) -> Subject:
    name = requirement.replace("==", " ")
    python = virtual_environment(requirement.replace("==", "-"))
    install_missing(python, [requirement, *requirements()])
    return Subject(name, python)


def python_ours() -> Subject:
    """Our agent. Installed again from this repository whenever its sources have changed."""
    python = virtual_environment("ours")
    install_missing(python, requirements())
    stamp, sources = BUILD / "ours" / "sources", fingerprint()
    if not stamp.exists() or stamp.read_text() != sources:
        say("building and installing ours")
        run(python, "-m", "pip", "install", "--quiet", REPOSITORY)
        stamp.write_text(sources)
    return Subject("ours", python)


def virtual_environment(name: str) -> Path:
    python = BUILD / name / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", BUILD / name)
    return python


def requirements() -> list[str]:
    lines = (line.strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def install_missing(python: Path, wanted: Sequence[str]) -> None:
    missing = run(python, "-c", MISSING, *wanted).split()
    if missing:
        say(f"installing {', '.join(missing)}")
        run(python, "-m", "pip", "install", "--quiet", *wanted)


def fingerprint() -> str:
    """A hash of all files that our agent is built from."""
    digest = hashlib.sha256()
    paths = [REPOSITORY / name for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml")]
    for folder in ("crates", "python"):
        paths += sorted(
            path
            for path in (REPOSITORY / folder).rglob("*")
            if path.suffix in {".rs", ".toml", ".py"}
        )
    for path in paths:
        digest.update(str(path.relative_to(REPOSITORY)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build(package: str, workspace: Path) -> None:
    manifest = workspace / "Cargo.toml"
    say(f"building {package}")
    run(
        *("cargo", "build", "--quiet", "--release", "--package", package),
        *("--manifest-path", manifest, "--target-dir", TARGET),
    )


def run(*command: str | Path) -> str:
    """Runs a command and returns its output. Its errors are shown."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    finished = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return finished.stdout


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
