"""The guard configuration of these apps, for every framework."""

import os
from typing import Any

_AGENT = {
    "enable_agent": True,
    "agent_api_key": os.environ["GUARD_AGENT_API_KEY"],
    "agent_endpoint": os.environ["GUARD_AGENT_ENDPOINT"],
    "agent_flush_interval": int(os.environ["GUARD_AGENT_FLUSH_INTERVAL"]),
    "enable_penetration_detection": False,
}

QUIET: dict[str, Any] = {**_AGENT, "enable_redis": False, "security_headers": None}

WITH_REDIS: dict[str, Any] = {
    **_AGENT,
    "enable_redis": True,
    "redis_url": os.environ.get("REDIS_URL"),
    "enable_ip_banning": False,
    "rate_limit": 100_000,
    "blocked_user_agents": ["sqlmap"],
}
