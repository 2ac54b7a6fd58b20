"""Uses every public name of `guard_agent` and its modules, as a user's program would."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import guard_agent as package
from guard_agent import (
    AgentConfig,
    AgentHandlerProtocol,
    AgentStatus,
    BufferFullError,
    BufferProtocol,
    CircuitBreaker,
    DynamicRules,
    EventBatch,
    EventBuffer,
    GuardAgentError,
    GuardAgentHandler,
    HTTPTransport,
    RateLimiter,
    RedisHandlerProtocol,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    TransportProtocol,
    generate_batch_id,
    get_current_timestamp,
    guard_agent,
    hash_ip,
    sanitize_headers,
    setup_agent_logging,
    truncate_payload,
    validate_config,
)
from guard_agent.encryption import (
    EncryptionConfigError,
    EncryptionError,
    PayloadEncryptor,
    create_encryptor,
)
from guard_agent.exceptions import PayloadTooLargeError, PermanentClientError
from guard_agent.install_id import resolve_install_id
from guard_agent.models import KNOWN_EVENT_TYPES
from guard_agent.signing import sign_payload
from guard_agent.utils import (
    RateLimitedError,
    SerializationError,
    calculate_backoff_delay,
    parse_retry_after_seconds,
    safe_json_deserialize,
    safe_json_serialize,
    summarize_response_body,
)


def configure(endpoint: str) -> AgentConfig:
    def on_error(stage: str, error: BaseException, context: dict[str, Any]) -> None:
        print(stage, error, context)

    config = AgentConfig(
        api_key="an-api-key-for-tests",
        endpoint=endpoint,
        install_id="sample",
        on_error=on_error,
    )
    problems: list[str] = validate_config(config)
    assert problems == []
    return config


def event(name: str) -> SecurityEvent:
    return SecurityEvent(
        timestamp=get_current_timestamp(),
        event_type=name,
        ip_address=hash_ip("192.0.2.1", salt="pepper"),
        reason=truncate_payload("a long reason", 100),
        metadata={"headers": sanitize_headers({"cookie": "secret"}, ["cookie"])},
    )


def metric() -> SecurityMetric:
    now = get_current_timestamp()
    return SecurityMetric(timestamp=now, metric_type="request_count", value=1.0)


def synchronous(config: AgentConfig) -> None:
    agent = SyncGuardAgentHandler(config)
    agent.start()
    agent.send_event(event("sync"))
    agent.send_metric(metric())
    agent.flush_buffer()
    stats: dict[str, Any] = agent.get_stats()
    assert stats["events_sent"] >= 1
    status: AgentStatus = agent.get_status()
    assert status.status == "healthy"
    rules: DynamicRules | None = agent.get_dynamic_rules()
    assert rules is None or rules.version >= 1
    healthy: bool = agent.health_check()
    assert healthy
    agent.stop()
    agent.close()


async def asynchronous(config: AgentConfig) -> None:
    agent: GuardAgentHandler = guard_agent(config)
    assert isinstance(agent, AgentHandlerProtocol)
    await agent.start()
    await agent.send_event(event("async"))
    await agent.send_metric(metric())
    await agent.flush_buffer()
    buffer: BufferProtocol = agent.buffer
    assert await buffer.get_buffer_size() == 0
    own: TransportProtocol = agent.transport
    redis: RedisHandlerProtocol | None = agent.redis_handler
    assert redis is None
    agent.transport = HTTPTransport(config)
    agent.transport = own
    agent.buffer = EventBuffer(config)
    agent.buffer = None
    assert await agent.health_check()
    assert (await agent.get_status()).errors == []
    assert await agent.get_dynamic_rules() is None
    await agent.stop()
    await agent.close()


async def parts(config: AgentConfig) -> None:
    transport = HTTPTransport(config)
    await transport.initialize()
    delivered: bool = await transport.send_events([event("direct")])
    assert delivered
    await transport.close()

    raising = config.model_copy(update={"buffer_overflow_policy": "raise", "buffer_size": 1})
    buffer = EventBuffer(raising)
    await buffer.add_event(event("buffered"))
    try:
        await buffer.add_event(event("too much"))
    except BufferFullError as error:
        full: GuardAgentError = error
        print(full)
    events: list[SecurityEvent] = await buffer.flush_events()
    batch = EventBatch(
        project_id="shop",
        events=events,
        batch_id=generate_batch_id(),
        created_at=get_current_timestamp(),
    )
    assert len(batch.events) == 1

    limiter = RateLimiter(max_calls=1, time_window=60.0)
    assert await limiter.acquire()
    breaker = CircuitBreaker(failure_threshold=1)
    assert await breaker.call(buffer.get_buffer_size) == 0


def secrets() -> None:
    try:
        create_encryptor("no key")
    except EncryptionConfigError as error:
        print(error)
    encryptor: PayloadEncryptor | None = create_encryptor(
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    )
    assert encryptor is not None
    assert encryptor.verify_key()
    sealed: str = encryptor.encrypt({"events": []}, "shop")
    opened: dict[str, Any] = encryptor.decrypt(sealed, associated_data="shop")
    assert opened == {"events": []}
    try:
        encryptor.decrypt(sealed)
    except EncryptionError as error:
        print(error)
    signature: str | None = sign_payload(b"body", secret="shared")
    assert signature is not None
    unsigned: str | None = sign_payload(b"body", secret=None)
    assert unsigned is None


async def helpers() -> None:
    assert resolve_install_id(override="sample") == "sample"
    identifier: str = resolve_install_id(state_path=Path(sys.argv[2]))
    assert resolve_install_id(state_path=Path(sys.argv[2])) == identifier

    text: str = await safe_json_serialize({"types": KNOWN_EVENT_TYPES})
    read: dict[str, Any] | None = await safe_json_deserialize(text)
    assert read == {"types": KNOWN_EVENT_TYPES}
    cycle: list[Any] = []
    cycle.append(cycle)
    try:
        await safe_json_serialize(cycle)
    except SerializationError as error:
        print(error)

    seconds: float = parse_retry_after_seconds("7", default=1.0)
    limited = RateLimitedError(seconds)
    assert limited.retry_after_seconds == 7.0
    assert calculate_backoff_delay(2, base_delay=1.0, max_delay=3.0) == 3.0
    assert summarize_response_body("much\n to say", max_length=4).startswith("much")
    refused = PermanentClientError(404, detail="not here")
    assert (refused.status_code, refused.detail) == (404, "not here")
    too_large: PermanentClientError = PayloadTooLargeError()
    assert too_large.status_code == 413


def main() -> None:
    print(package.__version__)
    config = configure(sys.argv[1])
    synchronous(config)
    asyncio.run(asynchronous(config))
    asyncio.run(parts(config))
    secrets()
    asyncio.run(helpers())
    setup_agent_logging(log_level="WARNING")


if __name__ == "__main__":
    main()
