"""The results page: the machine, the time, the versions, and the table."""

import os
import platform
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from harness.cases import OURS, RUST_PEER, Result
from harness.environment import BENCH, REPOSITORY, Environment, requirements, run
from harness.table import markdown

READING = """\
Each round ran each case on the peer and on ours, one right after the other. "Theirs" and "ours"
are medians of the rounds. "Ours is ahead" is the median of the rounds' ratios: above 1, ours is
better. The spread is the smallest and the largest ratio. [README.md](README.md) describes the
cases."""


def page(results: Sequence[Result], head: Sequence[str]) -> str:
    """The complete text of RESULTS.md."""
    comparisons = [comparison for result in results for comparison in result.comparisons]
    baselines = [f"- {line}" for result in results for line in result.baselines]
    rates = [f"- {line}" for result in results for line in result.rates]
    alone = [f"- {line}" for result in results for line in result.alone]
    tables = [table for result in results for table in result.tables]
    return "\n".join(
        [
            "# Benchmark results",
            "",
            *head,
            "",
            READING,
            "",
            markdown(comparisons),
            "",
            "Baselines without an agent, and what the agents cost:",
            "",
            *baselines,
            "",
            "Sustained rate of ours. The peers drop what they have no room for:",
            "",
            *rates,
            "",
            "Rules on the fly, with guard-server and ours. The peers ask for rules at intervals:",
            "",
            *alone,
            "",
            "Answers to people, while 2,000 events a second come in:",
            "",
            *tables,
            "",
        ]
    )


def header(environment: Environment, arguments: Sequence[str]) -> list[str]:
    """The facts known before the run begins."""
    peers = [peer.name for peer in environment.peers]
    command = shlex.join(["python3", "bench/run.py", *arguments])
    now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    return [
        f"- date: {now}, load before the run {os.getloadavg()[0]:.2f}",
        f"- machine: {os.cpu_count()} cores, {cpu_model()}, {operating_system()}",
        f"- peers: {', '.join([*peers, RUST_PEER]) if peers else 'none'}",
        f"- {OURS}: commit {commit()}",
        f"- with: Python {platform.python_version()}, {run('rustc', '--version').strip()}, "
        + ", ".join(requirement.replace("==", " ") for requirement in requirements()),
        f"- command: `{command}`",
    ]


def cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def operating_system() -> str:
    return platform.freedesktop_os_release()["PRETTY_NAME"]


def commit() -> str:
    """The measured commit, and whether the tree had uncommitted changes."""
    short = run("git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD").strip()
    changed = run("git", "-C", REPOSITORY, "status", "--porcelain", "--", ".", f":!{BENCH}")
    return f"{short}, with uncommitted changes" if changed else short
