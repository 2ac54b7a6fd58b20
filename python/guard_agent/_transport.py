"""Runs a transport that the program supplies."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from guard_agent import _native
from guard_agent._decode import make_record
from guard_agent._loop import LoopThread, within
from guard_agent.models import AgentStatus, DynamicRules, SecurityEvent, SecurityMetric
from guard_agent.protocols import TransportProtocol

_logger = logging.getLogger("guard_agent")

# The maximum number of characters passed on from an exception's text.
_MAX_WORDS = 300


class TransportLoop:
    """Serves the agent's requests through `transport`, on an event loop in a dedicated thread.

    A slow or failing `transport` blocks only this loop.

    Args:
        transport: What carries the records.
        timeout: The time limit of one call, in seconds.
    """

    def __init__(self, transport: TransportProtocol, timeout: Callable[[], float]) -> None:
        self.transport = transport
        self.requests = _native.Requests()
        self._timeout = timeout
        self._thread = LoopThread("guard-transport")
        self._thread.post(self._listen)

    def _listen(self) -> None:
        self._thread.loop.add_reader(self.requests.fileno(), self._take)

    def close(self) -> None:
        """Ends the thread and cancels running tasks."""
        self._thread.close()

    async def send(self, name: str, records: list[Any]) -> Any:
        """Sends records by a method of the transport, from another event loop.

        Raises:
            RuntimeError: This loop was closed meanwhile.
        """
        return await self._thread.run(lambda: self._send(name, records))

    async def _send(self, name: str, records: list[Any]) -> Any:
        return await self._within_timeout(getattr(self.transport, name)(records))

    async def _within_timeout(self, answer: Any) -> Any:
        return await within(self._timeout(), answer)

    def _take(self) -> None:
        for request in self.requests.take():
            self._thread.spawn(self._answer(request))

    async def _answer(self, request: _native.Request) -> None:
        try:
            await self._carry(request)
        except asyncio.TimeoutError:
            request.fail(f"the transport took longer than {self._timeout()} s")
        except Exception as error:
            # The agent logs one warning per minute. This debug line shows the traceback.
            _logger.debug("The transport raised", exc_info=True)
            request.fail(f"the transport raised {error!r:.{_MAX_WORDS}}")

    async def _carry(self, request: _native.Request) -> None:
        if request.body is None:
            rules = await self._within_timeout(self.transport.fetch_dynamic_rules())
            request.succeed(None if rules is None else _rules_json(rules))
            return
        body = json.loads(request.body)
        name = f"send_{request.path.rsplit('/', 1)[-1]}"
        if name == "send_events":
            events = [make_record(SecurityEvent, event) for event in body["events"]]
            taken = await self._send(name, events)
        elif name == "send_metrics":
            metrics = [make_record(SecurityMetric, metric) for metric in body["metrics"]]
            taken = await self._send(name, metrics)
        else:
            taken = await self._within_timeout(
                self.transport.send_status(AgentStatus.model_validate(body))
            )
        if taken:
            request.succeed()
        else:
            request.fail(f"the transport's {name} returned {taken!r:.{_MAX_WORDS}}")


def _rules_json(rules: DynamicRules) -> str:
    return DynamicRules.model_validate(rules).model_dump_json(exclude_none=True)
