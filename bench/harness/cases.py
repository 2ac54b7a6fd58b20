"""The benchmark cases: what each round runs, and the result rows."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median, quantiles
from typing import Literal, TypeVar

from harness import alerts as alerting
from harness import dashboard as browser
from harness import explore as exploring
from harness import held, ingest, processes
from harness import retention as expiring
from harness import rules as dynamic_rules
from harness import tail as live
from harness.comparison import Comparison
from harness.environment import Environment, Subject, say
from harness.processes import Sink
from harness.table import figure, spread
from harness.trouble import TROUBLES, silent_backend

T = TypeVar("T")
Values = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Scale:
    """How much work each case runs."""

    rounds: int
    app_rounds: int
    app_seconds: int
    trouble_rounds: int
    bans: int
    agents: int
    sustained: int
    stored: Sequence[int]
    explored: Sequence[int]
    expired: int
    alert_spans: int
    readers: int
    tail_seconds: int
    page_seconds: int
    records: int = 20_000


FULL = Scale(
    rounds=9,
    app_rounds=5,
    app_seconds=10,
    trouble_rounds=3,
    bans=50,
    agents=1000,
    sustained=1_000_000,
    stored=(100_000, 1_000_000),
    explored=(100_000, 1_000_000),
    expired=1_000_000,
    alert_spans=12,
    readers=200,
    tail_seconds=30,
    page_seconds=600,
)
# With `--long`.
LONG = replace(FULL, stored=(*FULL.stored, 10_000_000), explored=(*FULL.explored, 10_000_000))
QUICK = Scale(
    rounds=2,
    app_rounds=1,
    app_seconds=3,
    trouble_rounds=1,
    bans=5,
    agents=1000,
    sustained=100_000,
    stored=(100_000,),
    explored=(100_000,),
    expired=100_000,
    alert_spans=3,
    readers=200,
    tail_seconds=5,
    page_seconds=20,
)


@dataclass(frozen=True)
class Result:
    """The result of a case: its rows, their baselines, and the figures without a peer."""

    comparisons: Sequence[Comparison] = ()
    baselines: Sequence[str] = ()
    rates: Sequence[str] = ()
    alone: Sequence[str] = ()
    tables: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """A figure from a measuring program, and its presentation in the results."""

    figure: str
    case: str
    unit: str
    better: Literal["lower", "higher"]


SEND = (
    Row(
        "build_and_send_us",
        "Python: build an event and await send_event, caller's CPU",
        "us",
        "lower",
    ),
    Row("send_us", "Python: await send_event alone, caller's CPU", "us", "lower"),
    Row(
        "delivered_cpu_us",
        "Python: event built, sent, delivered, CPU of the process",
        "us",
        "lower",
    ),
)
STALL = (
    Row(
        "stall_ms",
        "Python: longest event-loop stall, 20,000 events sent and delivered",
        "ms",
        "lower",
    ),
    Row("delivered_ms", "Python: 20,000 events sent and delivered, wall time", "ms", "lower"),
)
APP = (
    Row("requests_per_second", "app under wrk: requests", "/s", "higher"),
    Row("cpu_us", "app under wrk: CPU of the process per request", "us", "lower"),
    Row("metrics_delivered", "app under wrk: share of metrics delivered", "%", "higher"),
)
FOOTPRINT = (
    Row("queued_bytes", "Python: memory of a queued event", "bytes", "lower"),
    Row("import_ms", "Python: import of the agent, after FastAPI", "ms", "lower"),
)
RUST = (
    Row("build_and_send_us", "Rust: build an event and send_event, caller's CPU", "us", "lower"),
    Row("send_us", "Rust: send_event alone, caller's CPU", "us", "lower"),
    Row("delivered_wall_us", "Rust: record sent and delivered, wall time", "us", "lower"),
    Row("delivered_cpu_us", "Rust: record sent and delivered, CPU of the process", "us", "lower"),
)

TROUBLE = tuple(
    Row(f"{trouble}: {figure}", f"Python, {trouble}: {what}", unit, "lower")
    for trouble in TROUBLES
    for figure, what, unit in (
        ("p50_us", "await send_event, p50", "us"),
        ("p99_us", "await send_event, p99", "us"),
        ("stall_ms", "longest event-loop stall", "ms"),
    )
)

RUST_PEER = "guard-agent-rs 3.2.4"
OURS = "ours"
OFF = "off"
NOTHING = "an agent that does nothing"

# The largest share of an app's throughput that the agent may cost, in percent.
GOAL = 2
# The rate at which events come in while others follow them.
EVENTS_PER_SECOND = 5000
# Alerts of one project, and the largest share of a core that they may cost, in percent.
ALERTS = 1000
ALERTS_GOAL = 5


def send(environment: Environment, sink: Sink, scale: Scale) -> Result:
    """Measures the CPU cost of an event in the sending thread."""

    def run(subject: Subject, mode: str) -> dict[str, float]:
        sink.reset()
        result = processes.script(subject, "send.py", sink.address, str(scale.records), mode)
        sink.expect_events(2 * scale.records, subject.name)
        return result

    def measure(subject: Subject) -> dict[str, float]:
        return both_modes(partial(run, subject))

    values = in_turn("send", python_subjects(environment), scale.rounds, measure)
    return Result(compare(SEND, values))


def stall(environment: Environment, sink: Sink, scale: Scale) -> Result:
    """Measures how much reporting delays other work in the event loop."""

    def measure(subject: Subject) -> dict[str, float]:
        sink.reset()
        result = processes.script(subject, "stall.py", sink.address, str(scale.records))
        sink.expect_events(scale.records, subject.name)
        return result

    values = in_turn("stall", python_subjects(environment), scale.rounds, measure)
    idle = [value for figures in values.values() for value in figures["idle_ms"]]
    return Result(
        compare(STALL, values),
        [baseline("longest event-loop stall with nothing to report", "ms", idle)],
    )


def app(environment: Environment, sink: Sink, scale: Scale) -> Result:
    """Measures the agent's cost for an app at full speed, and the share of records that arrive."""

    def measure(name: str) -> dict[str, float]:
        sink.reset()
        settings = {
            "GUARD_AGENT": "off" if name == OFF else "on",
            "BENCH_AGENT": "nothing" if name == NOTHING else "",
            "GUARD_AGENT_API_KEY": "benchmark-key-1234567890",
            "GUARD_AGENT_ENDPOINT": sink.address,
            "GUARD_DETECTION": "off",
        }
        subject = python.get(name, environment.ours)
        served = processes.serve(subject, settings, scale.app_seconds)
        delivered = sink.counts()["metrics"]
        return {
            "requests_per_second": served.requests_per_second,
            "cpu_us": served.cpu_us,
            # Rounded down, so that 100 means that no record is missing.
            "metrics_delivered": 1000 * delivered // served.metrics_produced / 10,
        }

    python = python_subjects(environment)
    subjects = {name: name for name in (OFF, NOTHING, *python)}
    values = in_turn("app", subjects, scale.app_rounds, measure)
    off, nothing = values.pop(OFF), values.pop(NOTHING)
    return Result(
        compare(APP, values),
        [
            *app_baselines("agent off", off),
            *app_baselines(NOTHING, nothing),
            *(taken(name, nothing, figures) for name, figures in values.items()),
        ],
    )


def app_baselines(what: str, figures: dict[str, list[float]]) -> list[str]:
    rates, cpu = figures["requests_per_second"], figures["cpu_us"]
    return [
        baseline(f"app under wrk, {what}: requests", "/s", rates),
        baseline(f"app under wrk, {what}: CPU of the process per request", "us", cpu),
    ]


def taken(name: str, nothing: dict[str, list[float]], figures: dict[str, list[float]]) -> str:
    """The cost of an agent compared with one that does nothing, round by round."""
    rates = zip(nothing["requests_per_second"], figures["requests_per_second"], strict=True)
    percent = [100 * (1 - rate / base) for base, rate in rates]
    costs = zip(nothing["cpu_us"], figures["cpu_us"], strict=True)
    cpu = [cost - base for base, cost in costs]
    goal = f"; goal at most {GOAL} %" if name == OURS else ""
    return (
        f"app under wrk, cost of {name} over {NOTHING}: "
        f"{figure(median(percent))} % of the requests ({spread(percent)}){goal}, "
        f"{figure(median(cpu))} us of CPU per request ({spread(cpu)})"
    )


def footprint(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures the memory of a queued event and the import time of the agent."""

    def measure(subject: Subject) -> dict[str, float]:
        with silent_backend() as endpoint:
            queued = processes.script(subject, "memory.py", endpoint.url, str(scale.records))
        return queued | processes.script(subject, "imports.py")

    values = in_turn("footprint", python_subjects(environment), scale.rounds, measure)
    return Result(compare(FOOTPRINT, values))


def rate(environment: Environment, sink: Sink, scale: Scale) -> Result:
    """Measures the sustained send and delivery rate of one process. Peers drop most events."""

    def measure(spooled: bool) -> dict[str, float]:
        sink.reset()
        with tempfile.TemporaryDirectory() as folder:
            spool = (folder,) if spooled else ()
            arguments = (sink.address, str(scale.sustained), *spool)
            result = processes.script(environment.ours, "rate.py", *arguments)
        sink.expect_events(scale.sustained, OURS)
        return result

    places = {"in memory": False, "in a spool": True}
    values = in_turn("rate", places, scale.app_rounds, measure)
    what = f"one Python process, {scale.sustained:,} events kept"
    return Result(
        rates=[
            baseline(f"{what} {place}, sent and delivered", "/s", figures["events_per_second"])
            for place, figures in values.items()
        ]
    )


def rust(environment: Environment, sink: Sink, scale: Scale) -> Result:
    """Measures the cost of a record in a Rust program."""

    def run(program: str, mode: str) -> dict[str, float]:
        sink.reset()
        arguments = (sink.address, str(scale.records), mode)
        return processes.figures(environment.program(program), *arguments)

    def measure(program: str) -> dict[str, float]:
        return both_modes(partial(run, program))

    programs = {RUST_PEER: "record-peer", OURS: "record-ours"}
    return Result(compare(RUST, in_turn("rust", programs, scale.rounds, measure)))


def trouble(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures the cost of sending during network failures."""

    def measure(subject: Subject) -> dict[str, float]:
        values = {}
        for name, begin in TROUBLES.items():
            with begin() as endpoint:
                arguments = (endpoint.url, str(scale.records), endpoint.mode)
                figures = processes.script(
                    subject, "trouble.py", *arguments, settings=endpoint.settings
                )
            values |= {f"{name}: {key}": value for key, value in figures.items()}
        return values

    subjects = python_subjects(environment)
    return Result(compare(TROUBLE, in_turn("trouble", subjects, scale.trouble_rounds, measure)))


def rules(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how soon a rule change applies. Peers have no push: they poll for changes."""
    refused, allowed = dynamic_rules.effects(environment, scale.bans)
    return Result(
        alone=[
            distribution(f"POST of a ban to the first 403, {scale.bans} bans", refused),
            distribution(f"POST of an unban to the first 200, {scale.bans} bans", allowed),
        ]
    )


def waiting(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures the server's cost of agents that wait for rules, and when each gets new ones."""
    cost = held.measure(environment, scale.agents)
    agents = f"{scale.agents} agents that wait for rules"
    return Result(
        alone=[
            f"{agents}: memory of guard-server {figure(cost.idle_mib)} MiB before, "
            f"{figure(cost.holding_mib)} MiB while they wait, "
            f"{figure(cost.peak_mib)} MiB at most",
            distribution(f"{agents}: POST of a ban to each one's answer", cost.arrivals),
        ]
    )


def storing(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how fast the server stores events, and how that changes as its store grows."""
    stages = ingest.measure(environment, scale.stored)
    first = stages[0].per_second
    return Result(
        alone=[
            f"events stored by guard-server, at {stage.records:,} records: "
            f"{figure(stage.per_second)} /s ({figure(stage.per_second / first)} of the first row), "
            f"{figure(stage.cpu_us)} us of CPU and {figure(stage.bytes_per_record)} bytes per "
            f"event; a bare insert into SQLite: {figure(stage.bare_per_second)} /s, ours is "
            f"{figure(stage.per_second / stage.bare_per_second)} of it"
            for stage in stages
        ]
    )


def explore(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how soon the server answers people while records come in, as its store grows."""
    return Result(tables=[exploring.growth(exploring.measure(environment, scale.explored))])


def retention(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how long removing old records holds up the writer, on a real clock."""
    cost = expiring.measure(environment, scale.expired)
    what = f"while guard-server removes {cost.removed:,} events"
    bound = f"{1e3 * expiring.BOUND_SECONDS:.0f} ms"
    return Result(
        alone=[
            f"{what}: {cost.over:,} of {cost.commits:,} commits hold the writer for more than "
            f"{bound}; goal none",
            distribution("POST of one event before that", cost.quiet),
            distribution(f"POST of one event {what}", cost.meanwhile),
        ]
    )


def alerts(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures what many alerts cost the server while events come in."""
    cost = alerting.measure(environment, ALERTS, scale.alert_spans)
    return Result(
        alone=[
            f"{ALERTS:,} alerts of a project, {exploring.PER_SECOND:,} events stored per second: "
            f"{figure(100 * (cost.with_alerts - cost.without))} % of a core; goal at most "
            f"{ALERTS_GOAL} % ({figure(100 * cost.with_alerts)} % with them, "
            f"{figure(100 * cost.without)} % without)"
        ]
    )


def tail(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how late events reach live readers, and what these cost the server."""
    cost = live.measure(environment, scale.readers, EVENTS_PER_SECOND, scale.tail_seconds)
    readers = f"{scale.readers} live readers, {EVENTS_PER_SECOND:,} events stored per second"
    late = [1e3 * value for value in quantiles(cost.delays, n=100, method="inclusive")]
    return Result(
        alone=[
            f"{readers}: {cost.events:,} events delivered, {cost.missed:,} missed; from the start "
            f"of the POST to the reader p50 {figure(late[49])} ms, p99 {figure(late[98])} ms; "
            f"{figure(100 * cost.cores)} % of a core, memory at most {figure(cost.peak_mib)} MiB"
        ]
    )


def dashboard(environment: Environment, _: Sink, scale: Scale) -> Result:
    """Measures how soon pages of the dashboard open, and what a live view costs the browser."""
    found = browser.measure(environment, scale.page_seconds)

    def of(name: str) -> str:
        return figure(found[name])

    return Result(
        alone=[
            f"dashboard: the overview opens in {of('overview_ms')} ms, "
            f"{of('overview_drawn_ms')} ms of it after its data; the events in "
            f"{of('events_ms')} ms, the rules with 60,000 bans in {of('rules_ms')} ms",
            f"dashboard: a table of {found['scroll_rows']:,.0f} rows scrolls at "
            f"{of('scroll_frames_per_s')} frames a second, longest frame "
            f"{of('scroll_frame_ms')} ms",
            f"dashboard: a click on a filter shows the new overview after {of('filter_ms')} ms; "
            f"the same call of the API before it took {of('filter_api_ms')} ms",
            *(
                f"dashboard: {words} for {scale.page_seconds} s: longest frame "
                f"{of(f'{name}_frame_ms')} ms ({of('idle_frame_ms')} ms of an idle page), heap "
                f"{of(f'{name}_heap_begin_mib')} MiB at the beginning and "
                f"{of(f'{name}_heap_end_mib')} MiB at the end"
                for name, words in (
                    ("rare", "500 events a second of which one in a hundred is shown live"),
                    ("all", "500 events a second, all shown live"),
                )
            ),
        ]
    )


CASES = (
    *(send, stall, trouble, app, footprint, rate, rust),
    *(rules, waiting, storing, retention, explore, alerts, tail, dashboard),
)
# The cases that need only guard-server.
SERVER_CASES = (waiting, storing, retention, explore, alerts, tail)


def both_modes(run: Callable[[str], dict[str, float]]) -> dict[str, float]:
    """Measures the caller's cost without sending, and the delivery cost at default settings."""
    held, default = run("hold"), run("default")
    delivery = {name: figure for name, figure in default.items() if name.startswith("delivered")}
    return held | delivery


def python_subjects(environment: Environment) -> dict[str, Subject]:
    return {subject.name: subject for subject in (*environment.peers, environment.ours)}


def in_turn(
    case: str, subjects: dict[str, T], rounds: int, measure: Callable[[T], dict[str, float]]
) -> Values:
    """Measures every subject once per round. Each round starts with a different subject."""
    values: Values = {name: defaultdict(list) for name in subjects}
    names = list(subjects)
    for number in range(rounds):
        say(f"{case}: round {number + 1} of {rounds}")
        first = number % len(names)
        for name in names[first:] + names[:first]:
            for key, value in measure(subjects[name]).items():
                values[name][key].append(value)
    return values


def compare(rows: Sequence[Row], values: Values) -> list[Comparison]:
    """Compares ours with every peer, row by row."""
    return [
        Comparison(
            row.case, row.unit, row.better, peer, values[peer][row.figure], values[OURS][row.figure]
        )
        for row in rows
        for peer in values
        if peer != OURS
    ]


def baseline(what: str, unit: str, values: Sequence[float]) -> str:
    return f"{what}: {figure(median(values))} {unit} ({spread(values)})"


def distribution(what: str, seconds: Sequence[float]) -> str:
    percentiles = quantiles([1e3 * value for value in seconds], n=20, method="inclusive")
    p50, p95, longest = percentiles[9], percentiles[18], 1e3 * max(seconds)
    return f"{what}: p50 {figure(p50)} ms, p95 {figure(p95)} ms, longest {figure(longest)} ms"
