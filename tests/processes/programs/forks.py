"""Forks in the way that its argument names. The parent also sends, mostly as fast as it can.

Usage: python -m forks WAY COUNT. Every child sends its own records.
"""

import concurrent.futures
import ctypes
import multiprocessing
import os
import sys
from collections.abc import Callable

from host import Sender, agent, send_and_tell

Context = (
    multiprocessing.context.ForkContext
    | multiprocessing.context.ForkServerContext
    | multiprocessing.context.SpawnContext
)

WORKERS = 4


def fork(child: Callable[[], None]) -> int:
    """A plain fork. The child does the required steps before os._exit."""
    pid = os.fork()
    if pid == 0:
        child()
        agent.stop()
        os._exit(0)
    return pid


def wait_for(pids: list[int]) -> None:
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


def plain(count: int) -> None:
    """As many concurrent children as there are workers."""
    for start in range(0, count, WORKERS):
        wait_for([fork(send_and_tell) for _ in range(min(WORKERS, count - start))])


def nested(count: int) -> None:
    """Children of children."""

    def descend(depth: int) -> None:
        send_and_tell()
        if depth:
            wait_for([fork(lambda: descend(depth - 1))])

    descend(count)


def leaving(count: int) -> None:
    """Children that exit normally, by sys.exit."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            send_and_tell()
            sys.exit(0)
        pids.append(pid)
    wait_for(pids)


def abrupt(count: int) -> None:
    """Children that end by os._exit without any preparation."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            send_and_tell()
            os._exit(0)
        pids.append(pid)
    wait_for(pids)


def unseen(count: int) -> None:
    """Children forked by C code, so that Python does not notice."""
    c = ctypes.PyDLL(None)
    pids = []
    for _ in range(count):
        pid = c.fork()
        if pid == 0:
            send_and_tell()
            os._exit(0)
        pids.append(pid)
    wait_for(pids)


def replaced(count: int) -> None:
    """Children that replace themselves with another program."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            send_and_tell()
            os.execv("/bin/true", ["true"])
        pids.append(pid)
    wait_for(pids)


def living(count: int) -> None:
    """Children that live until the input ends, so their records must be sent automatically.

    For each line of the input the parent sends a record.
    """
    first, last = os.pipe()

    def child() -> None:
        os.close(last)
        send_and_tell()
        os.read(first, 1)

    pids = [fork(child) for _ in range(count)]
    print("forked", flush=True)
    sender = Sender()
    for _ in iter(sys.stdin.readline, ""):
        sender.send()
    sender.tell()
    os.close(last)
    wait_for(pids)


def process(context: Context, count: int) -> None:
    """multiprocessing.Process."""
    children = [context.Process(target=send_and_tell) for _ in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def executor(context: Context, count: int) -> None:
    """concurrent.futures.ProcessPoolExecutor."""
    with concurrent.futures.ProcessPoolExecutor(WORKERS, context) as pool:
        for task in [pool.submit(send_and_tell) for _ in range(count)]:
            task.result()


def pool(context: Context, count: int) -> None:
    """multiprocessing.Pool, closed and joined: leaving its `with` would kill its workers."""
    workers = context.Pool(WORKERS)
    workers.starmap(send_and_tell, [()] * count)
    workers.close()
    workers.join()


def main() -> None:
    way, _, method = sys.argv[1].partition("-")
    count = int(sys.argv[2])
    sender = Sender()
    if way in QUIETLY:
        sender.send()
        QUIETLY[way](count)
    else:
        thread = sender.start()
        if method:
            WITH_METHOD[way](multiprocessing.get_context(method), count)
        else:
            UNDER_LOAD[way](count)
        sender.stopped = True
        thread.join()
    sender.tell()


UNDER_LOAD = {
    "plain": plain,
    "nested": nested,
    "leaving": leaving,
    "abrupt": abrupt,
    "replaced": replaced,
}
WITH_METHOD = {"process": process, "executor": executor, "pool": pool}
# "early": the parent's worker thread has only just started.
# "unseen": if threads contend for the GIL during a fork that Python does not notice, the child
# cannot work.
QUIETLY = {"early": plain, "living": living, "unseen": unseen}


if __name__ == "__main__":
    main()
