"""Runs the benchmark: `make bench`, or `python3 bench/run.py [--quick] [--case NAME]`.

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
    parser.add_argument(
        "--case",
        action="append",
        choices=[case.__name__ for case in CASES],
        help="only this case, and others given likewise; writes no results",
    )
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    chosen: list[str] | None = arguments.case
    cases = [case for case in CASES if chosen is None or case.__name__ in chosen]

    environment = prepare()
    head = report.header(environment, sys.argv[1:])
    with processes.sink(environment) as sink:
        results = [case(environment, sink, QUICK if quick else FULL) for case in cases]
    page = report.page(results, head)
    print(page)
    if not quick and chosen is None:
        (BENCH / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
