"""Kills a process by SIGKILL, and measures how long it had no CPU time to save before that."""

import contextlib
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from support.process import eventually

# The thread that appends, and the one that opens the spool; the kernel keeps 15 letters of a name.
WRITER, JOURNAL = "guard-agent-wri", "guard-agent-jou"
# The first thread of the process, whatever its name.
SENDER = "sender"
EVERY_SECONDS = 0.01


@dataclass
class Death:
    """All times are nanoseconds.

    Attributes:
        at: Taken before the signal, by the machine's monotonic clock.
        counts: The time of the measurement, and how long the saving thread and the sending
            thread had waited for a processor until then.
    """

    at: int
    counts: list[tuple[int, int]]

    def starved_since(self, moment: int) -> int:
        """Returns how long the two threads were ready to run since then, without a processor.

        The sending thread may be stopped while it holds the lock that the other one waits for.
        """
        before = [waited for at, waited in self.counts if at <= moment]
        return self.counts[-1][1] - (before[-1] if before else 0)


class Life:
    """Observes a process until it is killed."""

    def __init__(self, child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
        self.child = child
        self._tasks = Path(f"/proc/{child.pid}/task")
        self._counts: list[tuple[int, int]] = []
        self._ended = threading.Event()
        self._follower = threading.Thread(target=self._follow)
        self._follower.start()

    def kill(self) -> Death:
        """Stops the process, because the kernel counts a wait when it ends; measures, kills."""
        at = time.monotonic_ns()
        self.child.send_signal(signal.SIGSTOP)
        eventually(self._is_stopped)
        self.close()
        self._look()
        self.child.kill()
        self.child.communicate()
        return Death(at, self._counts)

    def close(self) -> None:
        self._ended.set()
        self._follower.join()

    def _follow(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        waits = {}
        # A thread may end meanwhile, and so may the process.
        with contextlib.suppress(OSError):
            for task in self._tasks.iterdir():
                is_first = task.name == str(self.child.pid)
                name = SENDER if is_first else (task / "comm").read_text().strip()
                waits[name] = int((task / "schedstat").read_text().split()[1])
        saves = waits.get(WRITER, waits.get(JOURNAL, 0))
        self._counts.append((time.monotonic_ns(), saves + waits.get(SENDER, 0)))

    def _is_stopped(self) -> bool:
        # A thread may end meanwhile.
        with contextlib.suppress(OSError):
            stats = [(task / "stat").read_text() for task in self._tasks.iterdir()]
            return all(stat.rpartition(")")[2].split()[0] in "TZ" for stat in stats)
        return False
