"""A transport that a program brings along, at work for the agent."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guard_agent import _native
from guard_agent.models import AgentStatus, DynamicRules, SecurityEvent, SecurityMetric
from guard_agent.protocols import TransportProtocol

_logger = logging.getLogger("guard_agent")

Record = TypeVar("Record", bound=BaseModel)

# Of what an exception says, characters that are passed on.
_MAX_WORDS = 300


class TransportLoop:
    """Answers the agent's requests by `transport`, on an event loop in a thread of its own.

    Whatever `transport` does, it holds up nothing but this loop.

    Args:
        transport: What carries the records.
        timeout: Seconds that one call may take.
    """

    def __init__(self, transport: TransportProtocol, timeout: Callable[[], float]) -> None:
        self.transport = transport
        self.requests = _native.Requests()
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.add_reader(self.requests.fileno(), self._take)
        threading.Thread(target=self._run, name="guard-transport", daemon=True).start()

    def close(self) -> None:
        """Ends the thread, which cancels what is under way."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            self._loop.run_until_complete(asyncio.wait(self._tasks))
        self._loop.close()

    def _take(self) -> None:
        for request in self.requests.take():
            task = self._loop.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: _native.Request) -> None:
        try:
            await asyncio.wait_for(self._carry(request), self._timeout())
        except asyncio.TimeoutError:
            request.fail(f"the transport took longer than {self._timeout()} s")
        except Exception as error:
            # The agent warns, once a minute; this is for whoever looks for the line of code.
            _logger.debug("The transport raised", exc_info=True)
            request.fail(f"the transport raised {error!r:.{_MAX_WORDS}}")

    async def _carry(self, request: _native.Request) -> None:
        if request.body is None:
            rules = await self.transport.fetch_dynamic_rules()
            request.succeed(None if rules is None else _rules_json(rules))
            return
        body = json.loads(request.body)
        name = f"send_{request.path.rsplit('/', 1)[-1]}"
        if name == "send_events":
            taken = await self.transport.send_events(_models(SecurityEvent, body["events"]))
        elif name == "send_metrics":
            taken = await self.transport.send_metrics(_models(SecurityMetric, body["metrics"]))
        else:
            taken = await self.transport.send_status(AgentStatus.model_validate(body))
        if taken:
            request.succeed()
        else:
            request.fail(f"the transport's {name} returned {taken!r:.{_MAX_WORDS}}")


def _rules_json(rules: DynamicRules) -> str:
    return DynamicRules.model_validate(rules).model_dump_json(exclude_none=True)


def _models(model: type[Record], records: list[dict[str, Any]]) -> list[Record]:
    return [_model(model, record) for record in records]


def _model(model: type[Record], record: dict[str, Any]) -> Record:
    """One record; what passes no validation is not lost for that."""
    try:
        return model.model_validate(record)
    except ValidationError:
        return model.model_construct(None, **record)
