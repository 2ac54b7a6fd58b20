"""How soon guard-server answers people, with 30 days of telemetry and while more comes in."""

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from statistics import quantiles
from urllib.parse import quote, urlsplit

from harness.environment import Environment, say
from harness.held import cpu_seconds
from harness.ingest import BATCH, CONNECTIONS, WINDOW, batch, database_bytes, post
from harness.rules import ADMIN_TOKEN, Server, server
from harness.telemetry import Record, Traffic, month

SEED = 14
# The share of metrics among the records.
METRICS = 0.2
# The load while questions are asked.
PER_SECOND = 2_000
MONTH = "from=-30d"


@dataclass(frozen=True)
class Question:
    """A call, how often it is asked, and the goals for the median and p95 in milliseconds."""

    name: str
    path: str
    times: int
    median: float
    p95: float | None = None


def filtered(text: str) -> str:
    return f"filter={quote(text)}"


QUESTIONS = (
    Question("overview of 24 h", "overview", 40, 100, 300),
    Question("series by type, 30 days", f"events/series?{MONTH}&by=event_type", 15, 300),
    Question("series by address, 30 days", f"events/series?{MONTH}&by=ip_address", 5, 300),
    Question("top endpoints, 30 days", f"events/top?{MONTH}&by=endpoint", 15, 300),
    Question("top addresses, 30 days", f"events/top?{MONTH}&by=ip_address", 15, 300),
    Question(
        "series by endpoint of one type, 30 days",
        f"events/series?{MONTH}&by=endpoint&{filtered('event_type:ip_banned')}",
        15,
        500,
    ),
    Question(
        "top endpoints of one action, 30 days",
        f"events/top?{MONTH}&by=endpoint&{filtered('action_taken:request_blocked')}",
        15,
        500,
    ),
    Question(
        "top types of one address, 30 days",
        f"events/top?{MONTH}&by=event_type&{filtered('ip_address:{address}')}",
        5,
        500,
    ),
    Question(
        "p95 of response times by endpoint, 30 days",
        f"metrics/series?{MONTH}&metric=response_time&stat=p95&by=endpoint",
        5,
        500,
    ),
    Question(
        "first page of a metadata filter, 30 days",
        f"events?{MONTH}&{filtered('metadata.tenant:tenant-400')}",
        15,
        300,
    ),
    Question(
        "first page of a metadata filter that nothing matches, 30 days",
        f"events?{MONTH}&{filtered('metadata.tenant:none')}",
        15,
        300,
    ),
    Question(
        "count of a metadata filter, 30 days",
        f"events/series?{MONTH}&{filtered('metadata.tenant:tenant-400')}",
        3,
        5_000,
    ),
)


@dataclass(frozen=True)
class Answered:
    """The seconds that a question took, each time, and the CPU seconds of the server in all."""

    question: Question
    seconds: Sequence[float]
    cpu: float
    is_approximate: bool

    @property
    def median(self) -> float:
        """In milliseconds, as the others."""
        return 1e3 * quantiles(self.seconds, n=2, method="inclusive")[0]

    @property
    def p95(self) -> float:
        return 1e3 * quantiles(self.seconds, n=20, method="inclusive")[18]

    @property
    def cpu_each(self) -> float:
        """Includes storing the records that arrived at the same time."""
        return 1e3 * self.cpu / len(self.seconds)


@dataclass(frozen=True)
class Stage:
    """The answers of a store with this many events."""

    events: int
    megabytes: float
    answers: Sequence[Answered]


def measure(environment: Environment, sizes: Sequence[int]) -> list[Stage]:
    return [stage(environment, size) for size in sizes]


def stage(environment: Environment, size: int) -> Stage:
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
    ):
        traffic = Traffic(SEED)
        fill(backend, traffic, size)
        megabytes = database_bytes(Path(folder)) / 1e6
        say(f"explore: {size:,} events stored, {megabytes:,.0f} MB")
        with incoming(backend, traffic):
            address = traffic.clients[100][0]
            answers = [ask(backend, question, address) for question in QUESTIONS]
    return Stage(size, megabytes, answers)


def fill(backend: Server, traffic: Traffic, size: int) -> None:
    """Stores events of the last 30 days in the order of their times, with metrics in between."""
    metrics = traffic.metrics(*month(int(size * METRICS)), int(size * METRICS))
    events = traffic.events(*month(size), size)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for at in range(0, size, WINDOW):
            window = list(islice(events, WINDOW))
            extra = list(islice(metrics, int(len(window) * METRICS)))
            share = int(BATCH * METRICS)
            batches = [
                batch(window[n * BATCH : (n + 1) * BATCH], extra[n * share : (n + 1) * share])
                for n in range(-(-len(window) // BATCH))
            ]
            sent = [pool.submit(post, backend, batches[n::CONNECTIONS]) for n in range(CONNECTIONS)]
            for one in sent:
                one.result()
            if at % (20 * WINDOW) == 0:
                say(f"explore: {at + len(window):,} of {size:,} events sent")


@contextmanager
def incoming(backend: Server, traffic: Traffic) -> Iterator[None]:
    """Sends records of now at a steady rate until the context ends."""
    is_over = threading.Event()
    failures: list[BaseException] = []

    def send() -> None:
        step = timedelta(seconds=1 / PER_SECOND)
        due = time.monotonic()
        try:
            while not is_over.wait(max(0.0, due - time.monotonic())):
                due += BATCH / PER_SECOND
                events: list[Record] = list(traffic.events(datetime.now(timezone.utc), step, BATCH))
                post(backend, [batch(events)])
        except BaseException as error:  # The thread of the questions raises it.
            failures.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()
    if failures:
        raise failures[0]


def ask(backend: Server, question: Question, address: str) -> Answered:
    connection = http.client.HTTPConnection(urlsplit(backend.address).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    path = question.path.replace(quote("{address}"), quote(address))
    seconds = []
    cpu = cpu_seconds(backend)
    answer: dict[str, object] = {}
    for _ in range(question.times):
        begun = time.perf_counter()
        connection.request("GET", f"/api/v1/projects/default/{path}", headers=headers)
        response = connection.getresponse()
        text = response.read()
        seconds.append(time.perf_counter() - begun)
        if response.status != 200:
            raise SystemExit(f"guard-server answered {path} with {response.status}: {text!r}")
        answer = json.loads(text)
    connection.close()
    cpu = cpu_seconds(backend) - cpu
    answered = Answered(question, seconds, cpu, answer.get("approximate") is True)
    say(f"explore: {question.name}: {cell(answered)}")
    return answered


def growth(stages: Sequence[Stage]) -> str:
    """A Markdown table: the times of each question, for each size."""
    heads = [f"{stage.events:,} events" for stage in stages]
    lines = [
        f"| milliseconds: median, p95, CPU | goal | {' | '.join(heads)} |",
        "|---|---|" + "---|" * len(stages),
        "| size of the database | | "
        + " | ".join(f"{stage.megabytes:,.0f} MB" for stage in stages)
        + " |",
    ]
    for number, question in enumerate(QUESTIONS):
        goal = f"{question.median:,.0f}" + (f", {question.p95:,.0f}" if question.p95 else "")
        cells = [cell(stage.answers[number]) for stage in stages]
        lines.append(f"| {question.name} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(answered: Answered) -> str:
    text = f"{answered.median:,.1f}, {answered.p95:,.1f}, {answered.cpu_each:,.0f}"
    return f"{text}, approximate" if answered.is_approximate else text
