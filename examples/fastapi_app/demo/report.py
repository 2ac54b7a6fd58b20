"""The demo's output: a progress line, and the table of produced and delivered records."""

import sys
from dataclasses import dataclass

Counts = dict[str, dict[str, int]]
KINDS = ("events", "metrics")


@dataclass
class Report:
    """Produced and delivered records, each by kind and type."""

    produced: Counts
    delivered: Counts

    @property
    def complete(self) -> bool:
        """Whether produced and delivered records are equal, type by type."""
        return all(self.produced[kind] == self.delivered[kind] for kind in KINDS)

    def progress(self, seconds: float, requests: int) -> str:
        parts = [f"{seconds:4.0f} s", f"{requests:,} requests"]
        for kind in KINDS:
            made, arrived = (sum(c[kind].values()) for c in (self.produced, self.delivered))
            parts.append(f"{kind} {arrived:,} of {made:,} delivered")
        return "   ".join(parts)

    def table(self) -> str:
        lines = [f"{'':38}{'produced':>10}{'delivered':>11}"]
        for kind in KINDS:
            made, arrived = self.produced[kind], self.delivered[kind]
            lines.append(f"{kind:38}{sum(made.values()):>10,}{sum(arrived.values()):>11,}")
            lines.extend(
                f"  {name:36}{made.get(name, 0):>10,}{arrived.get(name, 0):>11,}"
                for name in sorted(made.keys() | arrived.keys())
            )
        return "\n".join(lines)


class Progress:
    """Shows a line that updates in place on a terminal, and every fifth line elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.shown = 0

    def show(self, line: str) -> None:
        if self.terminal:
            print(f"\r\x1b[K{line}", end="", flush=True)
        elif self.shown % 5 == 0:
            print(line, flush=True)
        self.shown += 1

    def end(self) -> None:
        """Ends the progress line, so that further output starts on a new line."""
        if self.terminal and self.shown:
            print()
        self.shown = 0
