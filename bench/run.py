"""Runs the benchmark: `make bench`, or `python3 bench/run.py [--quick]`.

Sets up what it needs below .build/bench, runs every case on the peers and on
ours in turn, prints the table and writes it to bench/RESULTS.md.
"""

import argparse
import sys

from harness import processes, report
from harness.cases import CASES, FULL, QUICK
from harness.environment import BENCH, prepare


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the agent side by side with its peers.")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about two minutes, to see that all works; writes no results",
    )
    quick: bool = parser.parse_args().quick

    environment = prepare()
    head = report.header(environment, sys.argv[1:])
    with processes.sink(environment) as sink:
        results = [case(environment, sink, QUICK if quick else FULL) for case in CASES]
    page = report.page(results, head)
    print(page)
    if not quick:
        (BENCH / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
