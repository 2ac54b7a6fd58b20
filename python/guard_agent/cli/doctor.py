"""`guard-agent doctor`: finds problems between the agent and its backend."""

import argparse
import re
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from importlib.metadata import packages_distributions

from guard_agent import __version__, _native
from guard_agent.cli.backend import Answer, Backend, BackendError
from guard_agent.cli.finding import Finding, fail, ok, warn
from guard_agent.cli.redis import redis_state
from guard_agent.cli.settings import SettingsError, read_settings, unknown_variables
from guard_agent.cli.spool import spool_state
from guard_agent.config import AgentConfig

_SECONDS_OF_A_DAY = 86_400
_FEW_DAYS = 14
_DISTRIBUTION = "fastapi-guard-agent"
_MOST_SKEW_SECONDS = 60
_MOST_REASON = 200
# The DER bytes of the extension basicConstraints with CA:TRUE, critical or not.
_AUTHORITY = re.compile(rb"\x06\x03\x55\x1d\x13(\x01\x01\xff)?\x04.\x30.\x01\x01\xff", re.DOTALL)


def doctor(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Runs the checks in order. Stops at the first failure that makes the rest pointless."""
    yield from unknown_variables()
    try:
        config = read_settings(arguments)
    except SettingsError as error:
        yield from error.findings
        return
    yield ok("configuration", "the agent takes it")
    yield _package()
    yield _install_id(config)
    yield spool_state(config)
    yield from redis_state(config)
    try:
        yield from _way_to(Backend(config))
    except BackendError as error:
        yield error.finding


def _package() -> Finding:
    """Detects two packages in one folder. They work until one of them is updated or removed."""
    others = set(packages_distributions().get("guard_agent", [])) - {_DISTRIBUTION}
    if others:
        names = " and ".join(sorted(others))
        remedy = f"pip uninstall {' '.join(sorted(others))}, then install {_DISTRIBUTION} again"
        return fail("package", f"{names} installs guard_agent too", remedy)
    return ok("package", f"{_DISTRIBUTION} {__version__}")


def _install_id(config: AgentConfig) -> Finding:
    identifier, not_kept = _native.resolve_install_id(None, config.install_id)
    if not_kept is None:
        return ok("install id", identifier)
    remedy = "make the home directory writable, or set GUARD_AGENT_INSTALL_ID"
    return warn("install id", f"it cannot be kept: {not_kept}", remedy)


def _way_to(backend: Backend) -> Iterator[Finding]:
    addresses = backend.resolve()
    yield ok("dns", ", ".join(addresses))
    connection = backend.connect()
    yield ok("connection", backend.target)
    yield _encryption(backend, connection, addresses)
    answer = backend.get("/api/v1/rules", connection)
    yield _key(backend, answer)
    yield _clock(answer)


def _encryption(backend: Backend, connection: HTTPConnection, addresses: list[str]) -> Finding:
    if isinstance(connection.sock, ssl.SSLSocket):
        if _AUTHORITY.search(connection.sock.getpeercert(binary_form=True) or b""):
            return fail(
                "tls",
                "the certificate is an authority's (CA:TRUE), which the agent does not take as a "
                "server's",
                "make another with -addext basicConstraints=critical,CA:FALSE and -addext "
                f"subjectAltName=DNS:{backend.host}, and set SSL_CERT_FILE to it",
            )
        certificate = connection.sock.getpeercert() or {}
        until = str(certificate["notAfter"])
        left = int((ssl.cert_time_to_seconds(until) - time.time()) // _SECONDS_OF_A_DAY)
        text = f"the certificate is good until {until}"
        if left < _FEW_DAYS:
            return warn("tls", f"{text}, {left} days", "renew the backend's certificate")
        return ok("tls", text)
    if backend.is_local(addresses):
        return ok("tls", "none, within this machine")
    remedy = "put TLS before the backend and use https in endpoint"
    return warn("tls", f"none: the key and all records travel to {backend.host} in clear", remedy)


def _key(backend: Backend, answer: Answer) -> Finding:
    status = answer.status
    if status in (204, 304) or (status == 200 and answer.body is not None):
        return ok("key", "the backend takes it")
    if status in (401, 403):
        remedy = "correct GUARD_AGENT_API_KEY and, if it is set, GUARD_AGENT_PROJECT_ID"
        return fail("key", f"the backend refuses it with {status}{_reason(answer)}", remedy)
    if status == 404 and backend.get("/api/v1/status").status == 200:
        remedy = "try it by guard-agent send-test-event"
        return warn("key", "not checked, since the backend has no rules to ask for", remedy)
    if status in (429, 503):
        return warn("key", f"not checked, since the backend is busy ({status})", "try again later")
    if 300 <= status < 400:
        place = answer.headers.get("Location", "where the API is")
        remedy = f"set endpoint to {place.partition('/api/v1')[0]}"
        return fail("key", f"the backend answers {status}; redirects are not followed", remedy)
    remedy = "set endpoint to a Guard backend"
    text = f"the answer to /api/v1/rules is {status} and holds no rules"
    return fail("key", text + _reason(answer), remedy)


def _reason(answer: Answer) -> str:
    """Returns the backend's error text, formatted to follow a statement."""
    detail = (answer.body or {}).get("detail")
    return f": {detail:.{_MOST_REASON}}" if isinstance(detail, str) else ""


def _clock(answer: Answer) -> Finding:
    remedy = "set the clock of this machine or the backend's, by NTP"
    try:
        date = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except ValueError:
        return warn("clock", "not compared, since the backend sends no date", remedy)
    ahead = round(answer.asked_at - date)
    if abs(ahead) <= _MOST_SKEW_SECONDS:
        return ok("clock", "agrees with the backend's")
    way = "ahead of" if ahead > 0 else "behind"
    return fail("clock", f"this machine's is {abs(ahead)} s {way} the backend's", remedy)
