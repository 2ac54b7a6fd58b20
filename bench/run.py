"""Runs the benchmark: `make bench`, or `python3 bench/run.py [--quick|--long] [--case NAME]`.

Sets up what it needs below .build/bench, runs every case on the peers and on
ours in turn, prints the table and writes it to bench/RESULTS.md.
"""

import argparse
import sys
from contextlib import nullcontext

from harness import processes, report
from harness.cases import CASES, FULL, LONG, QUICK, SERVER_CASES
from harness.environment import BENCH, prepare, prepare_server
from harness.processes import Sink


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the agent side by side with its peers.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick",
        action="store_true",
        help="about two minutes, to see that all works; writes no results",
    )
    length.add_argument(
        "--long",
        action="store_true",
        help="also with 10,000,000 records in guard-server: about an hour more",
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

    scale = QUICK if quick else LONG if arguments.long else FULL
    is_server_alone = all(case in SERVER_CASES for case in cases)
    environment = prepare_server() if is_server_alone else prepare()
    head = report.header(environment, sys.argv[1:])
    with nullcontext(Sink("")) if is_server_alone else processes.sink(environment) as sink:
        results = [case(environment, sink, scale) for case in cases]
    page = report.page(results, head)
    print(page)
    if not quick and chosen is None:
        (BENCH / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
