"""Runs every test of the project and ends with one line that counts them all.

    make test

Rust runs first, by cargo; then the dashboard, by vitest; then one pytest run. Exits with 1 if a
test failed, or if a run failed without a failed test.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CARGO = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"]
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
VITEST = ["npm", "test", "--", "--reporter=default", "--reporter=json"]
# The Python tests mostly wait, so there are more workers than processors.
WORKERS = min(len(os.sched_getaffinity(0)) + 1, 8)
PYTEST = ["--color=no", "-ra", "--durations=20", "-n", str(WORKERS), "--dist=worksteal"]
SUITES = ["tests", "bench/tests"]


class Outcomes:
    """A plugin that counts the result of each test."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a test once: by its call, or by a set-up or tear-down that did not pass."""
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1


def run_cargo() -> Counter[str]:
    """Runs the Rust tests and shows their output as it arrives."""
    counts: Counter[str] = Counter()
    with subprocess.Popen(
        CARGO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if match := CARGO_RESULT.match(line):
                passed, failed, skipped = map(int, match.groups())
                counts += Counter(passed=passed, failed=failed, skipped=skipped)
    return at_least_one_failure(counts, process.returncode)


def run_vitest() -> Counter[str]:
    """Runs the component tests of the dashboard, with the Node of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    report = ROOT / ".build/vitest.json"
    report.unlink(missing_ok=True)
    code = subprocess.run(
        [*VITEST, f"--outputFile.json={report}"], cwd=ROOT / "web", env={**os.environ, "PATH": path}
    ).returncode
    counts: Counter[str] = Counter()
    if report.exists():
        found = json.loads(report.read_text())
        for outcome in ("passed", "failed"):
            counts[outcome] = found[f"num{outcome.title()}Tests"]
        counts["skipped"] = found["numPendingTests"] + found["numTodoTests"]
    return at_least_one_failure(counts, code)


def run_pytest() -> Counter[str]:
    """Runs all Python tests, in worker processes that report to this one."""
    os.chdir(ROOT)
    outcomes = Outcomes()
    code = pytest.main([*PYTEST, *SUITES], plugins=[outcomes])
    return at_least_one_failure(outcomes.counts, code)


def at_least_one_failure(counts: Counter[str], code: int) -> Counter[str]:
    """Counts a run that failed without a failed test as one failure."""
    if code and not counts["failed"]:
        counts["failed"] = 1
    return counts


def main() -> int:
    """Runs both, whatever the result of the first."""
    total: Counter[str] = Counter()
    for name, run in (
        ("Rust", run_cargo),
        ("Dashboard", run_vitest),
        ("Python", run_pytest),
    ):
        started = time.monotonic()
        total += run()
        print(f"--- {name}: {time.monotonic() - started:.0f} s\n", flush=True)
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
