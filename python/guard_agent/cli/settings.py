"""The configuration that a command uses."""

import argparse
import difflib
import os
import sys
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from guard_agent.cli.finding import Finding, fail, warn
from guard_agent.client import SyncGuardAgentHandler
from guard_agent.config import AgentConfig
from guard_agent.encryption import EncryptionConfigError

_PREFIX = "GUARD_AGENT_"
_WHAT = "configuration"


class SettingsError(Exception):
    """The configuration is invalid.

    Attributes:
        findings: The problems, one for each field.
    """

    def __init__(self, findings: list[Finding]) -> None:
        """Stores the findings."""
        super().__init__(", ".join(finding.text for finding in findings))
        self.findings = findings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `read_settings` reads."""
    parser.add_argument("--endpoint", metavar="URL", help="the backend; GUARD_AGENT_ENDPOINT")
    parser.add_argument("--project-id", metavar="ID", help="the project; GUARD_AGENT_PROJECT_ID")
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="holds the project's API key, - reads standard input; else GUARD_AGENT_API_KEY",
    )


def read_settings(arguments: argparse.Namespace) -> AgentConfig:
    """Reads the environment and the options, and validates them as the agent does.

    Raises:
        SettingsError: The agent would not start with these settings.
    """
    given = {"endpoint": arguments.endpoint, "project_id": arguments.project_id}
    values = {name: value for name, value in given.items() if value is not None}
    if arguments.api_key_file is not None:
        values["api_key"] = _read_key(arguments.api_key_file)
    try:
        config = AgentConfig.from_env(**values)
    except ValidationError as error:
        raise SettingsError([_explain(problem) for problem in error.errors()]) from None
    try:
        # Creating the agent starts nothing and runs all checks.
        SyncGuardAgentHandler(config)
    except (ValueError, EncryptionConfigError) as error:
        text = str(error).removeprefix("Invalid agent configuration: ")
        remedy = "correct its option or GUARD_AGENT_ variable"
        raise SettingsError([fail(_WHAT, text, remedy)]) from None
    return config


def unknown_variables() -> list[Finding]:
    """Reports variables that look like settings but are not."""
    known = [_PREFIX + name.upper() for name in AgentConfig.model_fields]
    findings = []
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "the agent ignores it"
            findings.append(warn(_WHAT, f"{name} is no setting of the agent", remedy))
    return findings


def _read_key(file: str) -> str:
    try:
        key = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        # The message omits the name: it may be the key itself, given by mistake.
        text = f"the file of --api-key-file cannot be read: {why}"
        finding = fail(_WHAT, text, "give the name of a file that holds the key")
        raise SettingsError([finding]) from None
    return key.strip()


def _explain(problem: ErrorDetails) -> Finding:
    name = ".".join(map(str, problem["loc"]))
    variable = _PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else "the variables"
    if problem["type"] == "missing":
        remedy = f"set {variable}" + (", or give --api-key-file" if name == "api_key" else "")
        return fail(_WHAT, f"{name} is not given", remedy)
    return fail(_WHAT, f"{name}: {problem['msg']}", f"correct its option or {variable}")
