"""A program that uses an agent as documented; the same for every agent.

Reads from stdin {"config": {...}, "events": [...], "metrics": [...], "rules": false}: AgentConfig's
fields, the records' fields, and whether to ask for the rules first. Records without a timestamp
happen now.
"""

import asyncio
import json
import sys

from guard_agent.client import guard_agent
from guard_agent.models import AgentConfig, SecurityEvent, SecurityMetric
from guard_agent.utils import get_current_timestamp


async def main() -> None:
    task = json.load(sys.stdin)
    agent = guard_agent(AgentConfig(**task["config"]))
    await agent.start()
    if task.get("rules"):
        assert await agent.get_dynamic_rules()
    for event in task["events"]:
        await agent.send_event(SecurityEvent(**{"timestamp": get_current_timestamp(), **event}))
    for metric in task["metrics"]:
        await agent.send_metric(SecurityMetric(**{"timestamp": get_current_timestamp(), **metric}))
    await agent.stop()


asyncio.run(main())
