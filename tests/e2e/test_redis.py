"""With its own Redis the agent's records survive the app's process, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.certificates import Authority
from support.example_app import ExampleApp
from support.guard_server import API_KEY, GuardServer
from support.process import eventually
from support.redis_server import DURABLE, RedisServer, TlsRedisServer

REQUESTS = 60
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def start_tls_redis(tmp_path: Path, cleanup: ExitStack) -> Callable[..., RedisServer]:
    def start(chain: Path, trusted: Path) -> RedisServer:
        redis = TlsRedisServer(tmp_path, chain, trusted)
        cleanup.callback(redis.stop)
        return redis.start()

    return start


@pytest.fixture
def tls_redis(start_tls_redis: Callable[..., RedisServer], authority: Authority) -> RedisServer:
    return start_tls_redis(authority.issue("localhost"), authority.certificate)


def settings(redis_url: str) -> dict[str, str]:
    return {"GUARD_DETECTION": "off", "GUARD_AGENT_REDIS_URL": redis_url}


def send(app: ExampleApp, requests: int) -> None:
    for _ in range(requests):
        assert app.request("/items") == 200


def test_the_next_app_delivers_once_what_a_killed_app_left_in_redis(
    start_redis: Callable[..., RedisServer],
    new_server: Callable[..., GuardServer],
    start_app: Callable[..., ExampleApp],
) -> None:
    redis = start_redis(*DURABLE)
    server = new_server().start()
    server.stop()
    endpoint = server.url
    first = start_app(endpoint, **settings(redis.url))
    send(first, REQUESTS)
    # Records of the last 10 ms may be lost.
    eventually(lambda: len(redis.keys("metric")) == 2 * REQUESTS)
    left = redis.keys("metric", "event")
    first.process.stop(signal.SIGKILL)
    redis.let_leases_lapse()
    server.start()
    second = start_app(endpoint, **settings(redis.url))
    send(second, 10)

    expected = {"response_time": REQUESTS + 10, "request_count": REQUESTS + 10}
    assert eventually(lambda: server.counts("metrics") == expected)
    records = [record for kind in ("events", "metrics") for record in server.records(kind)]
    stored = [record["idempotency_key"] for record in records]
    assert len(stored) == len(set(stored))
    assert left <= set(stored)
    assert eventually(lambda: redis.waiting() == 0)


SENDER = """
import logging, sys
from guard_agent import AgentConfig, SyncGuardAgentHandler

logging.basicConfig()
agent = SyncGuardAgentHandler(AgentConfig.from_env())
agent.send_event({"timestamp": "2026-11-24T00:00:00Z", "event_type": "ip_banned"})
sys.stdin.read()
"""


@pytest.fixture
def send_to(tmp_path: Path, cleanup: ExitStack) -> Callable[..., Path]:
    """Starts a program that sends one event; returns its log."""

    def start(redis_url: str, **settings: str) -> Path:
        settings |= {"GUARD_AGENT_REDIS_URL": redis_url, "GUARD_AGENT_ENDPOINT": NOWHERE}
        log = tmp_path / "sender.log"
        with log.open("wb") as errors:
            sender = subprocess.Popen(
                [sys.executable, "-c", SENDER],
                env={**os.environ, "GUARD_AGENT_API_KEY": API_KEY, **settings},
                stdin=subprocess.PIPE,
                stderr=errors,
            )
        cleanup.callback(sender.communicate)
        return log

    return start


def test_a_redis_with_tls_saves_records_if_its_authority_is_trusted(
    tls_redis: RedisServer, authority: Authority, send_to: Callable[..., Path]
) -> None:
    assert tls_redis.url.startswith("rediss://")
    send_to(tls_redis.url, SSL_CERT_FILE=str(authority.certificate))
    assert eventually(lambda: tls_redis.waiting() == 1)


def test_an_untrusted_redis_gets_no_record(
    tls_redis: RedisServer, send_to: Callable[..., Path]
) -> None:
    log = send_to(tls_redis.url)
    refused = "cannot prove who it is (invalid peer certificate: "
    remedy = "): set SSL_CERT_FILE to the certificate of its authority"
    assert eventually(lambda: refused in log.read_text() and remedy in log.read_text())
    assert tls_redis.waiting() == 0


def test_a_self_signed_certificate_works_if_created_as_the_agent_advises(
    start_tls_redis: Callable[..., RedisServer],
    authority: Authority,
    send_to: Callable[..., Path],
) -> None:
    # Openssl's default: the certificate is trusted, and it is also an authority.
    certificate = authority.self_signed("localhost")
    redis = start_tls_redis(certificate, certificate)
    log = send_to(redis.url, SSL_CERT_FILE=str(certificate))
    options = ("basicConstraints=critical,CA:FALSE", "subjectAltName=DNS:")
    assert eventually(lambda: all(f"-addext {option}" in log.read_text() for option in options))
    assert redis.waiting() == 0
    redis.stop()

    extensions = ("-addext", options[0], "-addext", f"{options[1]}localhost")
    certificate = authority.self_signed("localhost", *extensions)
    redis = start_tls_redis(certificate, certificate)
    send_to(redis.url, SSL_CERT_FILE=str(certificate))
    assert eventually(lambda: redis.waiting() == 1)


def test_a_redis_without_tls_gets_no_plaintext_record(
    start_redis: Callable[..., RedisServer], send_to: Callable[..., Path]
) -> None:
    redis = start_redis()
    log = send_to(redis.url.replace("redis://", "rediss://"))
    assert eventually(lambda: "records are kept in memory only" in log.read_text())
    assert redis.waiting() == 0
