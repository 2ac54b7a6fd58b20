"""The behaviour that all commands share."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from support.guard_server import API_KEY

import guard_agent as package
from cli.output import Output

Command = Callable[..., Output]


def test_help_names_every_command_and_fits_a_terminal(guard_agent: Command) -> None:
    output = guard_agent("--help", COLUMNS="100")
    assert output.code == 0
    for command in ("doctor", "send-test-event", "stats"):
        assert f"\n    {command}" in output.text
        assert guard_agent(command, "--help").code == 0
    assert max(map(len, output.text.splitlines())) <= 100


def test_version_is_the_package_version(guard_agent: Command) -> None:
    assert guard_agent("--version").text == f"guard-agent {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["cure"], "invalid choice: 'cure'"),
        (["doctor", "more"], "unknown: more words than a command; see --help"),
        (["doctor", "--api-key", API_KEY], "unknown: --api-key; see --help"),
        (["doctor", f"--api-key={API_KEY}"], "unknown: --api-key; see --help"),
    ],
    ids=["no command", "unknown command", "more", "the key by two words", "the key by one"],
)
def test_wrong_arguments_exit_with_2(
    guard_agent: Command, arguments: list[str], expected: str
) -> None:
    output = guard_agent(*arguments)
    assert output.code == 2
    assert expected in output.errors


def test_python_m_runs_the_same_command(environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "guard_agent", "doctor", "--endpoint", "nowhere"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout.startswith("fail  configuration  endpoint: ")
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [["doctor"], ["send-test-event"], ["spool", "ls"], ["stats"]])
def test_a_closed_output_pipe_is_no_error(
    environment: dict[str, str], arguments: list[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        ended = subprocess.run(
            [sys.executable, "-m", "guard_agent", *arguments, "--endpoint", "http://127.0.0.1:1"],
            env=environment,
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")
