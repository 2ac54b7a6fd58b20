"""Protections for single FastAPI endpoints, and Redis for the agent.

`fastapi_guard.fastapi_guard.Guard` passes requests to your own handlers, which may report them
through `guard_agent`; `fastapi_guard.redis_handler.RedisHandler` puts a Redis client behind the
agent. The fastapi-guard middleware is a separate package, imported as `guard`. One application
can use both.
"""
