"""Encryption, signatures, and secrets that must never leave the process."""

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.example_app import ExampleApp
from support.guard_server import API_KEY, GuardServer
from support.process import PATIENCE_SECONDS, eventually
from support.relay import Relay

CLIENT = Path(__file__).with_name("client.py")
SIGNING_SECRET = "a-signing-secret-of-the-project"


def report(python: str | Path, endpoint: str, events: list[Any], **config: str) -> None:
    """Makes an agent report events, through the client program."""
    task = {
        "config": {"api_key": API_KEY, "endpoint": endpoint, **config},
        "events": events,
        "metrics": [],
    }
    subprocess.run(
        [python, CLIENT], input=json.dumps(task), text=True, check=True, timeout=PATIENCE_SECONDS
    )


def test_an_encrypted_project_sends_no_plaintext(
    new_server: Callable[..., GuardServer],
    start_relay: Callable[[GuardServer], Relay],
    start_app: Callable[..., ExampleApp],
    encryption_key: str,
) -> None:
    server = new_server("--encryption-key", encryption_key).start()
    relay = start_relay(server)
    app = start_app(relay.url, GUARD_AGENT_PROJECT_ENCRYPTION_KEY=encryption_key)
    app.request("/account", "198.18.6.1")
    app.request("/items", "198.18.6.1")
    app.stop()

    assert server.counts("events")["authentication_failed"] == 1
    assert server.counts("metrics") == {"response_time": 1, "request_count": 1}
    batches = relay.batches()
    assert {batch.path for batch in batches} == {"/api/v1/events/encrypted"}
    assert not any(b"198.18.6.1" in exchange.body for exchange in relay.exchanges)


def test_a_signed_project_signs_each_batch(
    new_server: Callable[..., GuardServer],
    start_relay: Callable[[GuardServer], Relay],
    start_app: Callable[..., ExampleApp],
) -> None:
    server = new_server("--signing-secret", SIGNING_SECRET).start()
    relay = start_relay(server)
    app = start_app(relay.url, GUARD_AGENT_PAYLOAD_SIGNING_SECRET=SIGNING_SECRET)
    app.request("/account")
    app.request("/items")
    app.stop()

    assert server.counts("events")["authentication_failed"] == 1
    assert server.counts("metrics") == {"response_time": 1, "request_count": 1}
    for batch in relay.batches():
        digest = hmac.new(SIGNING_SECRET.encode(), batch.body, hashlib.sha256).hexdigest()
        assert batch.headers["x-payload-signature"] == f"v1={digest}"


def test_a_wrong_signature_is_rejected_and_the_records_are_kept(
    new_server: Callable[..., GuardServer],
    start_relay: Callable[[GuardServer], Relay],
    start_app: Callable[..., ExampleApp],
) -> None:
    server = new_server("--signing-secret", SIGNING_SECRET).start()
    relay = start_relay(server)
    app = start_app(relay.url, GUARD_AGENT_PAYLOAD_SIGNING_SECRET="another-secret")
    app.request("/items")

    [first, again, *_] = eventually(lambda: len(sent := relay.batches()) > 1 and sent)
    assert (first.status, again.status) == (401, 401)
    assert server.counts("metrics") == {}


def test_sensitive_headers_never_reach_the_wire_or_the_store(
    server: GuardServer, start_relay: Callable[[GuardServer], Relay], tmp_path: Path
) -> None:
    relay = start_relay(server)
    headers = {
        "Authorization": "Bearer do-not-tell-1",
        "cookie": "session=do-not-tell-2",
        "X-API-Key": "do-not-tell-3",
        "Proxy-Authorization": "do-not-tell-4",
        "Host": "shop.example",
    }
    metadata = {"headers": headers, "nested": {"list": [["set-cookie", "do-not-tell-5"]]}}
    event = {
        "event_type": "suspicious_request",
        "ip_address": "198.18.7.1",
        "action_taken": "logged",
        "reason": "a test",
        "metadata": metadata,
    }

    report(sys.executable, relay.url, [event])

    [stored] = server.records("events")
    assert stored["metadata"]["headers"]["Host"] == "shop.example"
    assert stored["metadata"]["headers"]["Authorization"] == "[REDACTED]"
    server.stop()
    written = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    sent = [exchange.body for exchange in relay.exchanges]
    assert not any(b"do-not-tell" in content for content in [*written, *sent])


def test_credentials_of_an_attacked_route_never_reach_the_wire(
    server: GuardServer,
    start_relay: Callable[[GuardServer], Relay],
    start_app: Callable[..., ExampleApp],
) -> None:
    relay = start_relay(server)
    app = start_app(relay.url)
    headers = {
        "Authorization": "Bearer do-not-tell-1",
        "Cookie": "s=<script>do-not-tell-2</script>",
    }
    app.request("/account", "198.18.8.1", headers=headers)
    app.request("/search?q=<script>alert(1)</script>", "198.18.8.1", headers=headers)
    app.stop()

    assert server.counts("events")["penetration_attempt"] >= 1
    assert not any(b"do-not-tell" in exchange.body for exchange in relay.exchanges)


def test_the_logs_of_app_and_server_hold_no_secret(
    new_server: Callable[..., GuardServer],
    start_app: Callable[..., ExampleApp],
    encryption_key: str,
) -> None:
    server = new_server(
        "--encryption-key", encryption_key, "--signing-secret", SIGNING_SECRET
    ).start()
    app = start_app(
        server.url,
        GUARD_AGENT_PROJECT_ENCRYPTION_KEY=encryption_key,
        GUARD_AGENT_PAYLOAD_SIGNING_SECRET=SIGNING_SECRET,
    )
    app.request("/account")
    app.stop()
    server.stop()

    assert server.process
    logs = app.process.output() + server.process.output()
    assert not any(secret in logs for secret in (API_KEY, encryption_key, SIGNING_SECRET))
