"""Compares all signal handlers before and after the agent's life."""

import signal
import threading


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in sorted(signal.valid_signals())]


def dispositions() -> str:
    """The signals that the process blocks, ignores and catches, according to the kernel."""
    with open("/proc/self/status") as status:
        return "".join(line for line in status if line.startswith("Sig"))


# The C library reserves a signal when the process starts its first thread.
first = threading.Thread()
first.start()
first.join()
before = handlers(), dispositions()

from host import agent, send_and_tell  # noqa: E402 (what comes before is the point)

send_and_tell()
agent.flush_buffer()
during = handlers(), dispositions()
agent.stop()
print("unchanged" if before == during == (handlers(), dispositions()) else "changed")
