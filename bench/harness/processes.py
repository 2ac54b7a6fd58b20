"""The processes of a case: started on free ports, stopped by process id."""

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.environment import BENCH, BUILD, REPOSITORY, Environment, Subject

EXAMPLE_APP = REPOSITORY / "examples" / "fastapi_app" / "main.py"
ERRORS = BUILD / "stderr.log"

# How long an app may take to stop before it is killed: the grace period of Kubernetes.
STOP_SECONDS = 30

NO_SETTINGS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Sink:
    """The backend that all agents report to."""

    address: str

    def reset(self) -> None:
        urllib.request.urlopen(f"{self.address}/reset", data=b"").close()

    def counts(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.address}/counts") as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def expect_events(self, expected: int, of: str) -> None:
        """Aborts the run because an agent did different work than requested."""
        counts = self.counts()
        if counts["events"] != expected or counts["malformed"]:
            raise SystemExit(f"{of}: {expected} events were sent, but the sink counted {counts}")


@dataclass(frozen=True)
class Served:
    """The results of an app under load."""

    requests_per_second: float
    cpu_us: float
    metrics_produced: int


@contextmanager
def sink(environment: Environment) -> Iterator[Sink]:
    """A sink that runs until the context ends."""
    with subprocess.Popen(
        [environment.program("sink")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Sink(announced(process))
        finally:
            process.kill()


def figures(*command: str | Path, settings: Mapping[str, str] = NO_SETTINGS) -> dict[str, float]:
    """Runs a measuring program and parses the figures in its last line."""
    with ERRORS.open("w") as errors:
        finished = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **settings},
        )
    if finished.returncode != 0:
        raise SystemExit(
            f"{command[0]} ended with {finished.returncode}:\n{ERRORS.read_text()[-2000:]}"
        )
    result: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return result


def script(
    subject: Subject, name: str, *arguments: str, settings: Mapping[str, str] = NO_SETTINGS
) -> dict[str, float]:
    """Runs a script of bench/scripts on an agent."""
    program = BENCH / "scripts" / name
    return figures(subject.python, program, *arguments, settings=settings)


def serve(subject: Subject, settings: Mapping[str, str], seconds: int) -> Served:
    """Serves the example app under wrk for the given time, then stops it gracefully."""
    command = [subject.python, BENCH / "scripts" / "app.py", EXAMPLE_APP]
    with running(command, settings) as process:
        address = announced(process)
        load(address, seconds=1)
        rate = load(address, seconds)
        process.terminate()
        figures = json.loads(read_line(process))
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    return Served(rate, figures["cpu_us"], figures["produced"])


@contextmanager
def running(
    command: Sequence[str | Path], settings: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """A server that runs until the context ends."""
    with (
        ERRORS.open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **settings},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def load(address: str, seconds: int) -> float:
    """Successful responses per second. Fails if any request failed."""
    command = [
        "wrk",
        "--threads",
        "1",
        "--connections",
        "32",
        "--duration",
        f"{seconds}s",
        f"{address}/items",
    ]
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    if rate is None or "Non-2xx" in report or "Socket errors" in report:
        raise SystemExit(f"wrk against the example app: not every request succeeded\n{report}")
    return float(rate[1])


def announced(process: subprocess.Popen[str]) -> str:
    """The address in a server's first line."""
    line = read_line(process)
    _, _, address = line.strip().partition("listening on ")
    if not address:
        raise SystemExit(f"{process.args!r} did not start: {line!r}\n{ERRORS.read_text()[-2000:]}")
    return address


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line of a program's output; empty when the program has ended."""
    return process.stdout.readline() if process.stdout else ""
