"""RedisHandler against a real Redis."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from fastapi_guard.redis_handler import RedisHandler
from guard_agent import RedisHandlerProtocol

Work = Callable[[RedisHandler, "Redis"], Awaitable[None]]


def run(work: Work, url: str, **options: bool) -> None:
    """Runs `work` with a handler and its client."""

    async def main() -> None:
        async with Redis.from_url(url, **options) as redis:
            handler = RedisHandler(redis=redis)
            await handler.initialize()
            await work(handler, redis)

    asyncio.run(main())


def test_it_implements_the_agents_protocol() -> None:
    assert isinstance(RedisHandler(redis=Redis()), RedisHandlerProtocol)


@pytest.mark.parametrize("decode_responses", [False, True])
def test_a_value_is_kept_by_namespace_and_key(redis_url: str, decode_responses: bool) -> None:
    async def work(handler: RedisHandler, redis: "Redis") -> None:
        assert await handler.set_key("agent_events", "one", '{"n": 1, "text": "ü"}') is True
        assert await handler.set_key("agent_metrics", "one", "2") is True
        assert await handler.get_key("agent_events", "one") == '{"n": 1, "text": "ü"}'
        assert await handler.get_key("agent_metrics", "one") == "2"
        assert await handler.get_key("agent_events", "two") is None
        assert await handler.delete("agent_events", "one") == 1
        assert await handler.delete("agent_events", "one") == 0
        assert await handler.get_key("agent_events", "one") is None
        assert await redis.dbsize() == 1

    run(work, redis_url, decode_responses=decode_responses)


@pytest.mark.parametrize("decode_responses", [False, True])
def test_keys_are_found_by_pattern_under_their_full_names(
    redis_url: str, decode_responses: bool
) -> None:
    async def work(handler: RedisHandler, redis: "Redis") -> None:
        for number in range(300):
            await handler.set_key("agent_events", f"event_{number}", "{}")
        await redis.set("another_application:agent_events:event_1", "theirs")
        await handler.set_key("agent_metrics", "metric_1", "{}")

        found = await handler.keys("agent_events:*")
        expected = {f"guard_core:agent_events:event_{number}" for number in range(300)}
        assert len(found) == 300
        assert set(found) == expected
        assert await handler.keys("nothing:*") == []

    run(work, redis_url, decode_responses=decode_responses)


def test_a_key_expires_only_with_a_ttl(redis_url: str) -> None:
    async def work(handler: RedisHandler, redis: "Redis") -> None:
        await handler.set_key("agent_events", "for good", "{}")
        await handler.set_key("agent_events", "for a minute", "{}", ttl=60)
        assert await redis.ttl("guard_core:agent_events:for good") == -1
        assert 0 < await redis.ttl("guard_core:agent_events:for a minute") <= 60

    run(work, redis_url)


def test_applications_with_different_prefixes_do_not_interfere(redis_url: str) -> None:
    async def work(handler: RedisHandler, redis: "Redis") -> None:
        other = RedisHandler(redis=redis, prefix="shop:")
        await other.set_key("agent_events", "one", "theirs")
        assert await handler.get_key("agent_events", "one") is None
        assert await handler.keys("*") == []
        assert await other.keys("*") == ["shop:agent_events:one"]

    run(work, redis_url)


def test_the_client_is_available_for_other_commands(redis_url: str) -> None:
    async def work(handler: RedisHandler, redis: "Redis") -> None:
        async with handler.get_connection() as connection:
            assert connection is redis
            assert await connection.incr("visits") == 1

    run(work, redis_url)


def test_an_unreachable_redis_is_an_immediate_error() -> None:
    handler = RedisHandler(redis=Redis.from_url("unix:///nowhere/redis.sock"))
    with pytest.raises(RedisConnectionError):
        asyncio.run(handler.initialize())
