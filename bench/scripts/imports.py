"""Measures importing the agent in a program that has imported FastAPI: python imports.py."""

import json
import time

import fastapi  # noqa: F401

if __name__ == "__main__":
    begun = time.perf_counter()
    import guard_agent  # noqa: F401

    print(json.dumps({"import_ms": (time.perf_counter() - begun) * 1e3}))
