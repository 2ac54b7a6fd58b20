"""Protections for single FastAPI endpoints, and Redis for the agent.

`fastapi_guard.fastapi_guard.Guard` hands requests to handlers of your own, which may report them
through `guard_agent`; `fastapi_guard.redis_handler.RedisHandler` puts a Redis client behind the
agent. The middleware fastapi-guard is another package, imported as `guard`; both can be used in
one application.
"""
