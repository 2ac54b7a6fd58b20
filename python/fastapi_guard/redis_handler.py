"""A Redis client with the interface that the agent and guards expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisHandler"]

_DEFAULT_PREFIX = "guard_core:"


class RedisHandler:
    """Adapts a Redis client to `guard_agent.RedisHandlerProtocol`.

    The full key is `prefix`, the namespace, ":" and the key. Errors of the client propagate
    unchanged.

    Args:
        redis: The client. The caller closes it.
        prefix: The prefix of all keys. The default is the one that fastapi-guard's own Redis
            handler uses, so both find the same values. Applications that share a Redis database
            need different prefixes.

    Example:
        >>> from redis.asyncio import Redis
        >>> handler = RedisHandler(redis=Redis.from_url("redis://localhost"))
    """

    def __init__(self, redis: Redis, prefix: str = _DEFAULT_PREFIX) -> None:
        """Stores the client. It connects on first use."""
        self._redis = redis
        self._prefix = prefix

    async def initialize(self) -> None:
        """Connects.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        await self._redis.ping()

    async def get_key(self, namespace: str, key: str) -> str | None:
        """Returns the value of `key`, or None if there is none."""
        value = await self._redis.get(self._name(namespace, key))
        return None if value is None else _text(value)

    async def set_key(self, namespace: str, key: str, value: Any, ttl: int | None = None) -> bool:
        """Sets `key`, with a lifetime of `ttl` seconds if given; returns whether it was set."""
        return bool(await self._redis.set(self._name(namespace, key), value, ex=ttl or None))

    async def delete(self, namespace: str, key: str) -> int:
        """Removes `key`; returns how many keys were removed, 0 or 1."""
        return int(await self._redis.delete(self._name(namespace, key)))

    async def keys(self, pattern: str) -> list[str]:
        """Returns the full names of the keys that match `pattern`, such as "agent_events:*".

        `pattern` uses Redis syntax and omits the prefix. The returned names include it.
        """
        # SCAN does not block Redis, unlike KEYS. It may return a key twice.
        found = [_text(name) async for name in self._redis.scan_iter(match=self._prefix + pattern)]
        return list(dict.fromkeys(found))

    @asynccontextmanager
    async def get_connection(self) -> AsyncIterator[Redis]:
        """Yields the client, for any other command."""
        yield self._redis

    def _name(self, namespace: str, key: str) -> str:
        return f"{self._prefix}{namespace}:{key}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
