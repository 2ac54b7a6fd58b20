"""Converts the agent's counters to the structure that programs expect."""

from typing import Any


def agent_stats(native: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of a handler's `get_stats()`."""
    events, metrics = native["events"], native["metrics"]
    return {
        "running": native["running"],
        "uptime": native["uptime"],
        "events_sent": events["delivered"],
        "metrics_sent": metrics["delivered"],
        "events_failed": events["dropped"],
        "metrics_failed": metrics["dropped"],
        "rules_fetched": native["rules_fetched"],
        "buffer_stats": buffer_stats(native),
        "transport_stats": transport_stats(native),
        "cached_rules": native["has_rules"],
        "rules_last_update": native["rules_updated"] or 0,
        "rules_version": native["rules_version"],
        "loop_failures": {
            "flush": native["requests_failed"],
            "status": native["status_failures"],
            "rules": native["rules_failures"],
        },
        "internal_errors": native["internal_errors"],
        "last_status_push_ok": native["last_status_ok"],
        "ledger": native["ledger"],
        "durability": native["durability"],
    }


def buffer_stats(native: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of a buffer's `get_stats()`; times are in seconds since 1970."""
    events, metrics = native["events"], native["metrics"]
    durability = native["durability"]
    return {
        "events_buffered": events["accepted"],
        "metrics_buffered": metrics["accepted"],
        "events_flushed": events["delivered"] + events["withdrawn"],
        "metrics_flushed": metrics["delivered"] + metrics["withdrawn"],
        "events_dropped": events["dropped"],
        "metrics_dropped": metrics["dropped"],
        "current_event_buffer_size": events["queued"],
        "current_metric_buffer_size": metrics["queued"],
        "redis_persist_failures": durability["failures"] if durability else 0,
        "durability_degraded": bool(durability and durability["degraded"]),
        "last_flush_time": native["last_delivery"],
        "auto_flush_running": native["running"],
    }


def transport_stats(native: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of a transport's `get_stats()`."""
    return {
        "requests_sent": native["requests_sent"],
        "requests_failed": native["requests_failed"],
        "bytes_sent": native["bytes_sent"],
        "circuit_breaker_state": native["circuit_breaker_state"],
        "failure_count": native["failure_count"],
        "session_closed": not native["running"],
    }
