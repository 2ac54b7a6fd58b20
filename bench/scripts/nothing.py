"""An agent that does nothing, so the cost of an app with it is the cost of the guard."""

from typing import Any


class Nothing:
    """Has the methods that guards and apps call. Ignores all records."""

    def __init__(self, config: Any) -> None:
        self.config = config

    async def start(self) -> None:
        """Does nothing."""

    async def stop(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def send_event(self, event: Any) -> None:
        """Does nothing."""

    async def send_metric(self, metric: Any) -> None:
        """Does nothing."""

    async def flush_buffer(self) -> None:
        """Does nothing."""

    async def initialize_redis(self, redis_handler: Any) -> None:
        """Does nothing."""

    async def get_dynamic_rules(self) -> None:
        """Returns no rules."""

    async def get_status(self) -> None:
        """There is none."""

    async def health_check(self) -> bool:
        return True

    def get_stats(self) -> dict[str, Any]:
        return {}
