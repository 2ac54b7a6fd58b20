"""Real database engines for the tests: `python -m engines.postgres`.

Each starts in a temporary folder on a free port, prints one line with its URL, runs until its
standard input ends, and removes what it made.
"""
