"""The agent under measurement. The same code runs on the peers and on ours."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from guard_agent.client import guard_agent
from guard_agent.models import AgentConfig, SecurityEvent
from guard_agent.utils import get_current_timestamp


def make_agent(sink: str, capacity: int, *, holds: bool = False) -> Any:
    """Creates an agent with room for `capacity` records; with `holds` it sends only on a flush.

    Peers hold in any case: only the number of records makes them send.
    """
    has_limit = "max_batch_bytes" in AgentConfig.model_fields
    return guard_agent(
        AgentConfig(
            api_key="benchmark-key-1234567890",
            project_id="benchmark",
            endpoint=sink,
            buffer_size=capacity,
            **({"max_batch_bytes": capacity * 1024} if holds and has_limit else {}),
        )
    )


def make_event(index: int) -> SecurityEvent:
    """Creates an event with the fields that the guard's adapters set."""
    return SecurityEvent(
        timestamp=get_current_timestamp(),
        event_type="suspicious_request",
        ip_address="203.0.113.7",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        endpoint="/api/v1/items",
        method="GET",
        action_taken="blocked",
        reason="SQL injection pattern in query parameter id",
        status_code=403,
        response_time=0.0042,
        metadata={"sequence": index, "guard.threat_score": 0.9},
    )


async def events_at(sink: str) -> int:
    """Returns how many distinct events the sink has, without blocking the loop."""
    address = urlsplit(sink)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"GET /counts HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    events: int = json.loads(answer.partition(b"\r\n\r\n")[2])["events"]
    return events


async def deliver(agent: Any, sink: str, expected: int) -> None:
    """Flushes until the sink has `expected` events; gives up after a minute."""

    async def flush() -> None:
        await agent.flush_buffer()
        while await events_at(sink) != expected:
            await asyncio.sleep(0.005)
            await agent.flush_buffer()

    await asyncio.wait_for(flush(), timeout=60)
