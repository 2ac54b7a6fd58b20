"""Ends in the way that its argument names, while a daemon thread sends as fast as it can.

Prints the time, in seconds of time.monotonic, just before it ends.
"""

import asyncio
import signal
import sys
import time

from host import CONFIG, LOADED, Sender

from guard_agent import GuardAgentHandler

sender = Sender()


def end_now() -> None:
    sender.tell()
    print(time.monotonic(), flush=True)


def leave_by_handler(*_: object) -> None:
    end_now()
    sys.exit(5)


async def send_in_loop() -> None:
    agent = GuardAgentHandler(CONFIG)
    in_loop = Sender()
    while in_loop.accepted < LOADED:
        await agent.send_metric(in_loop.metric())
        in_loop.accepted += 1
    in_loop.tell()


sender.start()
way = sys.argv[1]
if way == "handler":
    signal.signal(signal.SIGTERM, leave_by_handler)
    print("ready", flush=True)
    # signal.pause would sleep forever if the signal came just before it.
    while True:
        time.sleep(0.05)
if way == "loop":
    asyncio.run(send_in_loop())
end_now()
if way == "exit":
    sys.exit(3)
if way == "raise":
    raise RuntimeError("the end")
