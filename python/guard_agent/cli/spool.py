"""`guard-agent spool`: shows and handles the records on disk."""

import argparse
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from guard_agent import _native
from guard_agent.cli.finding import Finding, fail, ok, warn
from guard_agent.cli.redis import redis_requeue
from guard_agent.cli.settings import SettingsError, read_settings
from guard_agent.client import SyncGuardAgentHandler
from guard_agent.config import AgentConfig

ACTIONS = {
    "ls": "list what each process has, and what is set aside",
    "show": "show the oldest records, 100 at most",
    "drain": "deliver what processes that ended have left, until nothing is delivered for "
    "GUARD_AGENT_TIMEOUT seconds",
    "requeue-quarantined": "have what was set aside delivered again",
}

_WHAT = "spool"
_SHOWN = 100
# The time for the spool to load more records into memory, or to claim another process's records.
_LOOK_SECONDS = 0.01
_NO_DIRECTORY = "set GUARD_AGENT_SPOOL_DIR to the spool_dir of the application"


def spool(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Runs one of `ACTIONS` on the configured spool. The last one also handles Redis."""
    try:
        config = read_settings(arguments)
    except SettingsError as error:
        yield from error.findings
        return
    if config.redis_url is not None and arguments.action == "requeue-quarantined":
        yield redis_requeue(config, config.redis_url)
        return
    if config.spool_dir is None:
        yield fail(_WHAT, "no directory is given", _NO_DIRECTORY)
        return
    actions = {"ls": _ls, "show": _show, "drain": _drain, "requeue-quarantined": _requeue}
    try:
        if not Path(config.spool_dir).is_dir():
            # The path may be mistyped: do not report it as empty, and do not create it.
            yield fail(_WHAT, f"there is no directory {config.spool_dir}", _NO_DIRECTORY)
            return
        yield from actions[arguments.action](config, config.spool_dir)
    except OSError as error:
        yield fail(_WHAT, str(error), "check the directory and whom it belongs to")


def spool_state(config: AgentConfig) -> Finding:
    """Doctor's checks of the spool."""
    if config.spool_dir is None:
        place = "memory only" if config.redis_url is None else "Redis"
        return ok(_WHAT, f"none: records are kept in {place}")
    try:
        # Opening the spool creates and removes a directory, as the agent does.
        _native.spool_check(config.spool_dir, config.spool_max_bytes)
        directories = _native.spool_directories(config.spool_dir)
        aside = len(_native.spool_quarantined(config.spool_dir))
    except OSError as error:
        remedy = "make it writable for the application's user, or set GUARD_AGENT_SPOOL_DIR"
        return fail(_WHAT, str(error), remedy)
    records = sum(events + metrics for *_, events, metrics, _ in directories)
    used = sum(directory[4] for directory in directories)
    text = f"{records} record(s), {used:,} of {config.spool_max_bytes:,} bytes"
    if aside:
        remedy = "see guard-agent spool ls, and guard-agent spool requeue-quarantined"
        return warn(_WHAT, f"{text}; {aside} set aside", remedy)
    if used > config.spool_max_bytes * 0.9:
        return warn(_WHAT, text, "see why the backend does not keep up, or raise spool_max_bytes")
    return ok(_WHAT, text)


def _ls(_: AgentConfig, root: str) -> Iterator[Finding]:
    directories = _native.spool_directories(root)
    for name, running, created, segments, size, events, metrics, unreadable in directories:
        owner = "running" if running else "ended"
        text = (
            f"{name}: {owner}, since {_time(created)}, {events} event(s), {metrics} metric(s), "
            f"{size:,} bytes in {segments} segment(s)"
        )
        if unreadable:
            yield warn(_WHAT, f"{text}, {unreadable} bytes unreadable", "check the disk")
        else:
            yield ok(_WHAT, text)
    for kind, at, size, reason in _native.spool_quarantined(root):
        yield warn(
            "set aside",
            f"{kind or 'a damaged segment'}, {size:,} bytes, {_time(at)}: {reason}",
            "see why, then guard-agent spool requeue-quarantined" if kind else "check the disk",
        )
    if not directories:
        yield ok(_WHAT, "nothing waits")


def _show(_: AgentConfig, root: str) -> Iterator[Finding]:
    for kind, record in _native.spool_records(root, _SHOWN):
        yield ok(kind, record)


def _drain(config: AgentConfig, root: str) -> Iterator[Finding]:
    """Delivers as a normal program would, until no records of ended processes are left."""
    waiting = sum(
        events + metrics
        for _, running, _, _, _, events, metrics, _ in _native.spool_directories(root)
        if not running
    )
    handler = SyncGuardAgentHandler(config)
    handler.start()
    settled, progress = 0, time.monotonic()
    try:
        while settled < waiting and time.monotonic() < progress + config.timeout:
            handler.flush_buffer()
            before, settled = settled, _settled(handler)
            if settled > before:
                progress = time.monotonic()
            else:
                time.sleep(_LOOK_SECONDS)
    finally:
        handler.stop()
    ledger = handler.get_stats()["ledger"]
    lost = [f"{count} dropped ({reason})" for reason, count in ledger["dropped"].items() if count]
    left = max(waiting - _settled(handler), 0)
    text = ", ".join([f"{ledger['delivered']} record(s) delivered", *lost, f"{left} left"])
    if left:
        remedy = "see guard-agent doctor, then drain again; what is left is not lost"
        yield fail(_WHAT, text, remedy)
    elif lost:
        yield fail(_WHAT, text, "see guard-agent spool ls for what is set aside, and the log")
    else:
        yield ok(_WHAT, text)


def _settled(handler: SyncGuardAgentHandler) -> int:
    ledger = handler.get_stats()["ledger"]
    return int(ledger["delivered"] + sum(ledger["dropped"].values()))


def _requeue(config: AgentConfig, root: str) -> Iterator[Finding]:
    requeued = _native.spool_requeue(root, config.spool_max_bytes)
    yield ok(_WHAT, f"{requeued} record(s) are delivered by the next process that looks")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
