"""`guard-agent stats`: shows the last report of this installation's agent."""

import argparse
from collections.abc import Iterator
from typing import Any

from guard_agent import _native
from guard_agent.cli.backend import Backend, BackendError
from guard_agent.cli.finding import Finding, Level, fail
from guard_agent.cli.settings import SettingsError, read_settings
from guard_agent.config import AgentConfig

_PATH = "/api/v1/status"
_LEVELS = {"healthy": Level.OK, "degraded": Level.WARN}


def stats(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Asks the backend, which keeps the last report of each installation."""
    try:
        config = read_settings(arguments)
        yield from _reported(config)
    except SettingsError as error:
        yield from error.findings
    except BackendError as error:
        yield error.finding


def _reported(config: AgentConfig) -> Iterator[Finding]:
    identifier, _ = _native.resolve_install_id(None, config.install_id)
    answer = Backend(config, identifier).get(_PATH)
    if answer.status in (401, 403):
        yield fail("key", f"the backend refuses it with {answer.status}", "see guard-agent doctor")
        return
    if answer.status != 200 or answer.body is None or "report" not in answer.body:
        text = f"this backend does not say what agents reported (it answers {answer.status})"
        yield fail("stats", text, "ask guard-server, or the program itself by agent.get_stats()")
        return
    if agent := answer.body["report"]:
        yield from _describe(agent["received_at"], agent["status"])
        return
    text = f"the installation {identifier} has not reported to this backend"
    remedy = "run this as the user the program runs as, or set GUARD_AGENT_INSTALL_ID"
    yield fail("stats", text, remedy)


def _describe(received_at: str, report: dict[str, Any]) -> Iterator[Finding]:
    health = str(report.get("status", "unknown"))
    process = f"process {report.get('pid', '?')} on {report.get('hostname', '?')}"
    troubles = "; ".join(map(str, report.get("errors") or []))
    text = f"{health} at {received_at}, {process}, up {report.get('uptime', 0):.0f} s"
    yield Finding(_LEVELS.get(health, Level.FAIL), "agent", text, troubles)
    ledger = report.get("ledger")
    if isinstance(ledger, dict):
        dropped = {reason: n for reason, n in ledger.get("dropped", {}).items() if n}
        kept = ", ".join(f"{ledger.get(name, 0)} {name}" for name in ("queued", "spooled"))
        text = (
            f"{ledger.get('accepted', 0)} accepted: {ledger.get('delivered', 0)} delivered, {kept}"
        )
        lost = ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "none"
        level = Level.WARN if dropped else Level.OK
        yield Finding(level, "records", f"{text}, dropped: {lost}")
