"""The demo: guard-server, the example app, and traffic with real attacks.

    python examples/fastapi_app/demo --server target/release/guard-server

It needs fastapi-guard-agent and the example's requirements. It runs until Ctrl-C and then prints
what fastapi-guard produced and what arrived at the server; the exit code is 0 only if the two are
equal. Settings come from the environment:

    DEMO_SECONDS      ends the traffic after this number of seconds
    DEMO_SERVER_PORT  guard-server's port, default 8400
    DEMO_APP_PORT     the app's port, default 8401
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path

import aiohttp
from processes import DemoError, Process, require_free_port
from report import KINDS, Progress, Report
from traffic import Traffic

HERE = Path(__file__).resolve().parent
SUMMARY_EVERY = 30  # progress lines, one per second


def setting(name: str, default: int | None) -> int | None:
    """Reads a positive whole number from the environment."""
    text = os.environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise DemoError(f"{name}={text!r}: use a whole number above 0")
    return int(text)


class Demo:
    """One run: its ports, its key and token, and its folder, whose data starts empty."""

    def __init__(self, server_binary: Path, folder: Path) -> None:
        self.seconds = setting("DEMO_SECONDS", None)
        server_port = setting("DEMO_SERVER_PORT", 8400) or 0
        app_port = setting("DEMO_APP_PORT", 8401) or 0
        require_free_port(server_port, "DEMO_SERVER_PORT")
        require_free_port(app_port, "DEMO_APP_PORT")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "data", ignore_errors=True)
        self.folder = folder
        self.server_binary = server_binary
        self.server_url = f"http://127.0.0.1:{server_port}"
        self.app_url = f"http://127.0.0.1:{app_port}"
        self.app_port = app_port
        self.api_key = f"fg_{secrets.token_hex(32)}"
        self.token = f"gt_{secrets.token_hex(32)}"
        self.server = Process("guard-server", folder / "server.log")
        self.app = Process("the example app", folder / "app.log")
        self.traffic = Traffic(self.app_url)
        self.progress = Progress()

    async def run(self) -> bool:
        """Returns whether everything that was produced was delivered."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await self.start_server()
            await self.start_app()
            print(f"dashboard    {self.server_url}/\nsign in      {self.link()}", flush=True)
            print(f"API key      {self.api_key}\nadmin token  {self.token}\n", flush=True)
            await self.send_traffic(stop)
            # Stopping the app delivers the queued records, so read the server's figures after it.
            await self.app.stop()
            report = await self.report()
        finally:
            await self.app.stop()
            await self.server.stop()
        self.print_result(report)
        return report.complete

    async def start_server(self) -> None:
        listen = self.server_url.removeprefix("http://")
        await self.server.start(
            [self.server_binary, "--listen", listen, "--data-dir", self.folder / "data"],
            {"GUARD_SERVER_API_KEY": self.api_key, "GUARD_SERVER_ADMIN_TOKEN": self.token},
            f"{self.server_url}/health",
        )

    def link(self) -> str:
        """Where the first admin chooses a name and a password, as the server printed it."""
        found = re.search(r"http\S+/setup\?token=\S+", self.server.log.read_text())
        return found.group() if found else "see the log of the server"

    async def start_app(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "counted:app", "--port", str(self.app_port)]
        environment = {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
            "GUARD_AGENT_ENDPOINT": self.server_url,
            "GUARD_AGENT_API_KEY": self.api_key,
            "DEMO_PRODUCED": str(self.folder / "produced.json"),
        }
        await self.app.start(
            [*command, "--no-proxy-headers", "--no-access-log"],
            environment,
            f"{self.app_url}/health",
        )

    async def send_traffic(self, stop: asyncio.Event) -> None:
        sending = asyncio.create_task(self.traffic.run())
        try:
            await self.watch(stop)
        finally:
            self.progress.end()
            self.traffic.stop()
            await sending

    async def watch(self, stop: asyncio.Event) -> None:
        """Shows the progress once a second, until `stop` or the end of DEMO_SECONDS."""
        started = time.monotonic()
        ticks = 0
        while not stop.is_set():
            elapsed = time.monotonic() - started
            if self.seconds is not None and elapsed >= self.seconds:
                break
            self.server.require_running()
            self.app.require_running()
            report = await self.report()
            self.progress.show(report.progress(elapsed, sum(self.traffic.answers.values())))
            ticks += 1
            if self.seconds is None and ticks % SUMMARY_EVERY == 0:
                self.progress.end()
                print(f"\n{report.table()}\n", flush=True)
            try:
                await asyncio.wait_for(stop.wait(), 1)
            except asyncio.TimeoutError:
                continue

    async def report(self) -> Report:
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session,
                session.get(f"{self.server_url}/api/v1/projects/default/summary") as response,
            ):
                response.raise_for_status()
                summary = await response.json()
        except aiohttp.ClientError as error:
            words = self.server.last_words()
            raise DemoError(f"guard-server does not say what arrived ({error}): {words}") from None
        # The app writes its count ten times a second. A count written after the server's figures
        # includes all records in them.
        await asyncio.sleep(0.2)
        produced = json.loads((self.folder / "produced.json").read_text())
        return Report(produced, {kind: summary[kind]["by_type"] for kind in KINDS})

    def print_result(self, report: Report) -> None:
        answers = ", ".join(f"{s}: {n:,}" for s, n in sorted(self.traffic.answers.items()))
        print(f"\n{report.table()}\n\nanswers by status   {answers}")
        print(f"dashboard           {self.server_url}/\nAPI key             {self.api_key}")
        print(f"the same data again {self.server_binary} --data-dir {self.folder / 'data'}\n")
        print("delivered = produced" if report.complete else "delivered is NOT what was produced")


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description="Runs the demo.")
    parser.add_argument(
        "--server",
        type=Path,
        default=os.environ.get("GUARD_SERVER_BIN", "target/release/guard-server"),
        help="the guard-server binary (default: $GUARD_SERVER_BIN or the release build)",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(".build/demo"),
        help="where data and logs go; the data starts empty (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        if not arguments.server.is_file():
            raise DemoError(f"no guard-server at {arguments.server}: build it, or pass --server")
        return 0 if asyncio.run(Demo(arguments.server, arguments.dir).run()) else 1
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
