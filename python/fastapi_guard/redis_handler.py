"""A Redis client, as the agent and guards expect one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisHandler"]

_DEFAULT_PREFIX = "guard_core:"


class RedisHandler:
    """Puts a Redis client behind `guard_agent.RedisHandlerProtocol`.

    A value is kept under `prefix`, its namespace, ":" and its key. Errors of the client are
    raised as they are.

    Args:
        redis: The client, which stays the caller's to close.
        prefix: What all keys start with. The default is that of fastapi-guard's own Redis
            handler, which so finds the same values. Applications that share one Redis database
            need one each.

    Example:
        >>> from redis.asyncio import Redis
        >>> handler = RedisHandler(redis=Redis.from_url("redis://localhost"))
    """

    def __init__(self, redis: Redis, prefix: str = _DEFAULT_PREFIX) -> None:
        """Keeps the client; connects on first use."""
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
        """Sets `key`, to expire after `ttl` seconds if given; returns whether it is set."""
        return bool(await self._redis.set(self._name(namespace, key), value, ex=ttl or None))

    async def delete(self, namespace: str, key: str) -> int:
        """Removes `key`; returns how many keys were removed, 0 or 1."""
        return int(await self._redis.delete(self._name(namespace, key)))

    async def keys(self, pattern: str) -> list[str]:
        """Returns the full names of the keys that match, such as "agent_events:*".

        `pattern` is Redis's, without the prefix; the names have it.
        """
        # SCAN, unlike KEYS, does not hold Redis up; it may name a key twice.
        found = [_text(name) async for name in self._redis.scan_iter(match=self._prefix + pattern)]
        return list(dict.fromkeys(found))

    @asynccontextmanager
    async def get_connection(self) -> AsyncIterator[Redis]:
        """Yields the client, for whatever else."""
        yield self._redis

    def _name(self, namespace: str, key: str) -> str:
        return f"{self._prefix}{namespace}:{key}"


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
