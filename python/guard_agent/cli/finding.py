"""What the command has to say: one line each."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of output.

    Attributes:
        level: How bad it is.
        what: What it is about, in a word or two.
        text: What was found.
        remedy: What to do about it; empty where there is nothing to do.
    """

    level: Level
    what: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        """Returns the line, without what a terminal would obey."""
        remedy = f" - {self.remedy}" if self.remedy else ""
        line = f"{self.level.value:<4}  {self.what:<13}  {self.text}{remedy}"
        return "".join(char if char.isprintable() else "?" for char in line)


def ok(what: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what, text)


def warn(what: str, text: str, remedy: str) -> Finding:
    """It works, but something should be done."""
    return Finding(Level.WARN, what, text, remedy)


def fail(what: str, text: str, remedy: str) -> Finding:
    """It does not work until something is done."""
    return Finding(Level.FAIL, what, text, remedy)
