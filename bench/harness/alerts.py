"""What many alerts cost guard-server while events come in."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.environment import Environment, say
from harness.explore import SEED, incoming
from harness.held import cpu_seconds
from harness.measurements import measurement
from harness.rules import ADMIN_TOKEN, Host, Server, server
from harness.telemetry import COUNTRIES, ENDPOINTS, TYPES, Traffic

# The server evaluates its alerts this often. Each of these spans holds one evaluation.
EVERY_SECONDS = 10
EVALUATED = 'guard_server_alert_evaluations_total{outcome="evaluated"}'
FAILED = 'guard_server_alert_evaluations_total{outcome="failed"}'


@dataclass(frozen=True)
class Cost:
    """The cores that the server uses: medians of spans that hold one evaluation each."""

    without: float
    with_alerts: float


def measure(environment: Environment, alerts: int, spans: int) -> Cost:
    """Measures the server while events come in, first with its default alerts only."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
        incoming(backend, Traffic(SEED)),
    ):
        time.sleep(EVERY_SECONDS)
        without = cores(backend, spans)
        say(f"alerts: {without:.3f} cores without them")
        add(backend, alerts)
        # Each new alert reads its first counts from the store.
        expect_evaluations(backend, alerts)
        with_alerts = cores(backend, spans)
        say(f"alerts: {with_alerts:.3f} cores with {alerts} of them")
        expect_evaluations(backend, alerts)
        return Cost(without, with_alerts)


def cores(backend: Server, spans: int) -> float:
    used = []
    for _ in range(spans):
        cpu, begun = cpu_seconds(backend), time.perf_counter()
        time.sleep(EVERY_SECONDS)
        used.append((cpu_seconds(backend) - cpu) / (time.perf_counter() - begun))
    return median(used)


def add(backend: Server, alerts: int) -> None:
    """Adds alerts that no event starts, half of them with groups."""
    control = Host.at(backend.address)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    for number in range(alerts):
        endpoint = f"/api/v1/resource-{number % ENDPOINTS}/items"
        kind = TYPES[number % len(TYPES)][0]
        country = COUNTRIES[number % len(COUNTRIES)]
        filters = (
            f"endpoint:{endpoint} status_code:>={400 + number % 30}",
            f"event_type:{kind} ip_address:{number % 223 + 1}.0.0.0/8",
            f"action_taken:request_blocked country:{country} tenant-{number}",
            "action_taken:request_blocked",
        )
        condition = {
            "type": "threshold",
            "filter": filters[number % len(filters)],
            "count": 1_000_000,
            "window_s": 300,
        }
        group_by = "ip_address" if number % 2 == 0 else None
        alert = {"label": f"Alert {number}", "condition": condition, "group_by": group_by}
        status = control.ask("POST", "/api/v1/projects/default/alerts", headers, alert)
        if status != 201:
            raise SystemExit(f"guard-server answered {status} to alert {number}")


def expect_evaluations(backend: Server, alerts: int) -> None:
    """Waits until all alerts were evaluated once more. Ends the run if one failed."""
    limit = time.monotonic() + 12 * EVERY_SECONDS
    wanted = measurement(backend, EVALUATED) + alerts
    while measurement(backend, EVALUATED) < wanted:
        if time.monotonic() > limit:
            raise SystemExit(f"{alerts} alerts are not evaluated")
        time.sleep(0.2)
    if failed := measurement(backend, FAILED):
        raise SystemExit(f"{failed:.0f} evaluations of alerts failed")
