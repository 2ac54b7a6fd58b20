"""The command `guard-agent`: checks whether an agent with this configuration can deliver."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from guard_agent import __version__
from guard_agent.cli.doctor import doctor
from guard_agent.cli.event import send_test_event
from guard_agent.cli.finding import Finding, Level
from guard_agent.cli.settings import add_options
from guard_agent.cli.spool import ACTIONS, spool
from guard_agent.cli.stats import stats

__all__ = ["main"]

_DESCRIPTION = """\
Checks the agent's way to its backend. Settings are those of AgentConfig.from_env(): each comes
from its environment variable, such as GUARD_AGENT_API_KEY and GUARD_AGENT_ENDPOINT; options win.
The API key is never taken from an argument, and never shown."""

_EPILOG = """\
One line is printed for each finding: ok, warn or fail, what it is about, and the remedy.
Exits with 0, or with 1 if any line says fail, or with 2 for wrong arguments.

examples:
  GUARD_AGENT_API_KEY=fg_... guard-agent doctor --endpoint http://127.0.0.1:8400
  guard-agent send-test-event --endpoint https://guard.example.com --api-key-file key.txt
  pass show guard | guard-agent stats --api-key-file -"""

_COMMANDS = {
    "doctor": (
        doctor,
        "check configuration, package, install id, spool, Redis, DNS, connection, TLS, API key and "
        "clock",
    ),
    "send-test-event": (
        send_test_event,
        "send one event of the type agent_test and say whether the backend took it",
    ),
    "spool": (
        spool,
        "see what waits on disk, deliver it, or take back what was set aside",
    ),
    "stats": (
        stats,
        "show what this installation's agent reported last, as the backend keeps it",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command-line arguments, by default the process's own.

    Returns:
        The exit code: 0, 1 if anything failed, or 141 if the reader of the output is gone.

    Raises:
        SystemExit: With 2 for wrong arguments, with 0 after `--help` or `--version`.
    """
    parser = _parser()
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        # The message omits the values: a user may try to pass the key this way.
        names = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        parser.error(f"unknown: {' '.join(names) or 'more words than a command'}; see --help")
    # The findings already contain the agent's log messages.
    logging.getLogger("guard_agent").addHandler(logging.NullHandler())
    failed = False
    run, _ = _COMMANDS[given.command]
    for finding in run(given):
        try:
            _write(finding)
        except BrokenPipeError:
            return _end_unread()
        failed = failed or finding.level is Level.FAIL
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guard-agent",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (run, does) in _COMMANDS.items():
        described = f"{does[0].upper()}{does[1:]}."
        command = commands.add_parser(name, help=does, description=described, allow_abbrev=False)
        if run is spool:
            does = "; ".join(f"{action}: {what}" for action, what in ACTIONS.items())
            command.add_argument("action", choices=ACTIONS, metavar="ACTION", help=does)
        add_options(command)
    return parser


def _write(finding: Finding) -> None:
    # Flush after each line, because the next check may take long.
    sys.stdout.write(f"{finding}\n")
    sys.stdout.flush()


def _end_unread() -> int:
    """Ends quietly if the reader of the output is gone, such as `head`."""
    # The interpreter flushes the rest of the buffer when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
