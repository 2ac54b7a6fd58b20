"""Runs every test of the project and ends on one line that counts them all.

    make test

Each suite's own output is shown as it comes. Exits with 1 when any test failed or any suite ended
in another way than by its tests.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
PYTEST_LINE = re.compile(r"^=+ .*\b(passed|failed|skipped|errors?|xfailed|xpassed)\b.* in .*=+$")
PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)")
NAMES = {
    "error": "failed",
    "errors": "failed",
    "xpassed": "failed",
    "xfailed": "skipped",
}


@dataclass(frozen=True)
class Suite:
    """One command, and what its tests need in the environment."""

    name: str
    command: list[str]
    environment: dict[str, str]


def pytest(folder: str, **environment: str) -> Suite:
    """A suite of pytest with a configuration of its own folder or the project's."""
    command = [sys.executable, "-m", "pytest", "--color=no", "-ra", folder]
    return Suite(folder, command, environment)


SERVER = str(ROOT / "target" / "debug" / "guard-server")
SUITES = [
    Suite("Rust", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"], {}),
    pytest("tests/python"),
    pytest("tests/e2e", GUARD_SERVER_BIN=SERVER),
    pytest("tests/rules", GUARD_SERVER_BIN=SERVER),
    pytest("tests/quickstart", GUARD_SERVER_BIN=SERVER),
    pytest("tests/cli", GUARD_SERVER_BIN=SERVER),
    pytest("tests/adapters", GUARD_SERVER_BIN=SERVER),
    pytest("tests/processes", GUARD_SERVER_BIN=SERVER),
    pytest("tests/faults", GUARD_SERVER_BIN=SERVER),
    pytest("bench/tests"),
]


def count(line: str) -> Counter[str]:
    """The tests that a closing line of a runner counts."""
    if match := CARGO.match(line):
        passed, failed, skipped = map(int, match.groups())
        return Counter(passed=passed, failed=failed, skipped=skipped)
    if PYTEST_LINE.match(line):
        counts: Counter[str] = Counter()
        for number, name in PYTEST_COUNT.findall(line):
            counts[NAMES.get(name, name)] += int(number)
        return counts
    return Counter()


def run(suite: Suite) -> Counter[str]:
    """Runs one suite; a suite that ends badly without a failed test counts as one."""
    print(f"\n--- {suite.name}: {' '.join(suite.command)}", flush=True)
    process = subprocess.Popen(
        suite.command,
        cwd=ROOT,
        env=os.environ | suite.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    counts: Counter[str] = Counter()
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        counts += count(line.rstrip())
    if process.wait() != 0 and not counts["failed"]:
        print(f"--- {suite.name} ended with {process.returncode}", flush=True)
        counts["failed"] += 1
    return counts


def main() -> int:
    """Runs all suites, whatever becomes of each."""
    total: Counter[str] = Counter()
    for suite in SUITES:
        total += run(suite)
    print(f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
