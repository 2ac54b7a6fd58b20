"""Doctor's checks of the Redis that `redis_url` names."""

from collections.abc import Iterator

from guard_agent import _native
from guard_agent.cli.finding import Finding, fail, ok, warn
from guard_agent.config import AgentConfig

# The first version with streams.
_OLDEST = 5


def redis_state(config: AgentConfig) -> Iterator[Finding]:
    """Checks the agent's requirements on Redis; does nothing if Redis is not used."""
    if config.redis_url is None:
        return
    try:
        found = _native.redis_inspect(config.redis_url, config.project_id)
    except OSError as error:
        yield _failed(error)
        return
    place, version, eviction, records, used, aside, warning = found
    text = f"{place}, {records} record(s), {used:,} of {config.redis_max_bytes:,} bytes"
    yield _room(config, text, used, aside)
    yield _version(version)
    yield _eviction(eviction, warning)


def redis_requeue(config: AgentConfig, url: str) -> Finding:
    """Returns dead-letter records in Redis to delivery."""
    try:
        requeued = _native.redis_requeue(url, config.project_id, config.redis_max_bytes)
    except OSError as error:
        return _failed(error)
    return ok("redis", f"{requeued} record(s) are delivered by a process that runs, or the next")


def _failed(error: OSError) -> Finding:
    # The agent logs the same text: the problem, and the remedy after the last colon.
    trouble, _, remedy = str(error).rpartition(": ")
    return fail("redis", trouble, remedy)


def _room(config: AgentConfig, text: str, used: int, aside: int) -> Finding:
    if aside:
        stream = f"guard_agent:{{{config.project_id or 'default'}}}:quarantine"
        remedy = f"see the stream {stream}, and guard-agent spool requeue-quarantined"
        return warn("redis", f"{text}; {aside} set aside", remedy)
    if used > config.redis_max_bytes * 0.9:
        return warn("redis", text, "see why the backend does not keep up, or raise redis_max_bytes")
    return ok("redis", text)


def _version(version: str) -> Finding:
    first = version.partition(".")[0]
    if not first.isdecimal():
        return warn("redis version", "it does not tell", f"see that it is {_OLDEST} or later")
    if int(first) < _OLDEST:
        remedy = f"give the agent a Redis {_OLDEST} or later"
        return fail("redis version", f"{version}, which has no streams", remedy)
    return ok("redis version", version)


def _eviction(eviction: str, warning: str | None) -> Finding:
    if warning is not None:
        trouble, _, remedy = warning.rpartition(": ")
        return warn("eviction", trouble, remedy)
    return ok("eviction", eviction or "it does not tell; records need noeviction")
