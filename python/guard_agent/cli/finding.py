"""The command's output: one line per finding."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of output.

    Attributes:
        level: The severity.
        what: The subject, in a word or two.
        text: What was found.
        remedy: How to fix it; empty if there is nothing to do.
    """

    level: Level
    what: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        """Returns the line without control characters that a terminal would interpret."""
        remedy = f" - {self.remedy}" if self.remedy else ""
        line = f"{self.level.value:<4}  {self.what:<13}  {self.text}{remedy}"
        return "".join(char if char.isprintable() else "?" for char in line)


def ok(what: str, text: str) -> Finding:
    """Everything is well."""
    return Finding(Level.OK, what, text)


def warn(what: str, text: str, remedy: str) -> Finding:
    """It works, but the user should do something."""
    return Finding(Level.WARN, what, text, remedy)


def fail(what: str, text: str, remedy: str) -> Finding:
    """It does not work until the user does something."""
    return Finding(Level.FAIL, what, text, remedy)
