"""Uses every public name of `guard_agent`, as a program of a user's would."""

import asyncio
import sys
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


def main() -> None:
    print(package.__version__)
    config = configure(sys.argv[1])
    synchronous(config)
    asyncio.run(asynchronous(config))
    asyncio.run(parts(config))
    setup_agent_logging(log_level="WARNING")


if __name__ == "__main__":
    main()
