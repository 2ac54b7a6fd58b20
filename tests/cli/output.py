"""The command's output."""

import subprocess


class Output:
    """The output of a run of the command, and its exit code."""

    def __init__(self, run: "subprocess.CompletedProcess[str]") -> None:
        self.code = run.returncode
        self.text = run.stdout
        self.errors = run.stderr
        self.lines = [line.partition(" ") for line in run.stdout.splitlines()]

    def says(self, level: str, what: str) -> str:
        """The only line about `what`, which must have this level."""
        found = [(how, rest.strip()) for how, _, rest in self.lines]
        about = [(how, rest) for how, rest in found if rest.startswith(f"{what}  ")]
        assert len(about) == 1, self.text
        assert about[0][0] == level, self.text
        return about[0][1].removeprefix(what).strip()

    def levels(self) -> list[str]:
        return [level for level, _, _ in self.lines]
