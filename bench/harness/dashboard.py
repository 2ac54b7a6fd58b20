"""How fast the dashboard is in a real browser, in front of a real guard-server.

The browser runs web/browser/speed, with what the tests of the dashboard use.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from harness.environment import REPOSITORY, Environment, build, run, say

Figures = dict[str, float]


def measure(environment: Environment, seconds: int) -> Figures:
    """Opens pages, and follows a stream of 500 events a second for this long, twice."""
    run("make", "--directory", REPOSITORY, ".build/package", "web/dist")
    # It embeds the dashboard that was just built.
    build("guard-server", REPOSITORY)
    say(f"dashboard: two streams of {seconds} s")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "figures.json"
        settings = {
            "GUARD_SERVER_BIN": str(environment.program("guard-server")),
            "SPEED_SECONDS": str(seconds),
            "SPEED_RESULTS": str(results),
            # Node comes from the environment of the tests.
            "PATH": os.pathsep.join([str(REPOSITORY / ".build/venv/bin"), os.environ["PATH"]]),
        }
        subprocess.run(
            ["npx", "vitest", "run", "--project", "speed"],
            check=True,
            cwd=REPOSITORY / "web",
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
        )
        figures: Figures = json.loads(results.read_text())
        return figures
