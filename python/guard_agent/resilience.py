"""A rate limiter and a circuit breaker for programs that call a backend themselves.

The agent's own delivery uses its Rust breaker and needs neither.
"""

import inspect
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal


class RateLimiter:
    """Allows at most `max_calls` calls within any `time_window` seconds.

    Args:
        max_calls: The number of calls; at least 1.
        time_window: In seconds; above 0.

    Raises:
        ValueError: One of the two is out of range.
    """

    def __init__(self, max_calls: int, time_window: float) -> None:
        """Starts with no calls counted."""
        if max_calls < 1:
            raise ValueError(f"max_calls: {max_calls} is too small; give 1 or more")
        if not time_window > 0:
            raise ValueError(f"time_window: {time_window} is too small; give more than 0 seconds")
        self.max_calls = max_calls
        self.time_window = time_window
        self._calls: deque[float] = deque()

    async def acquire(self) -> bool:
        """Returns whether a call is allowed now, and counts it if so. Never waits."""
        self._forget()
        if len(self._calls) >= self.max_calls:
            return False
        self._calls.append(time.monotonic())
        return True

    def get_retry_after(self) -> float:
        """Returns the seconds until the next call is allowed; 0.0 when one is allowed now."""
        self._forget()
        if len(self._calls) < self.max_calls:
            return 0.0
        return max(0.0, self._calls[0] + self.time_window - time.monotonic())

    def _forget(self) -> None:
        """Drops the calls that are older than the window."""
        oldest = time.monotonic() - self.time_window
        while self._calls and self._calls[0] <= oldest:
            self._calls.popleft()


class CircuitBreaker:
    """Stops calling a function that keeps failing, and tries again after a while.

    Args:
        failure_threshold: Failures in a row that open the circuit.
        recovery_timeout: Seconds until an open circuit lets one call through as a probe.

    Attributes:
        state: "CLOSED" (calls pass), "OPEN" (calls are refused) or "HALF_OPEN" (one probe).
        failure_count: Failures in a row.
        last_failure_time: Unix time of the last failure, or None.
    """

    def __init__(self, failure_threshold: int = 5, recovery_timeout: float = 60.0) -> None:
        """Starts closed."""
        self.failure_threshold = failure_threshold
        self.recovery_timeout = recovery_timeout
        self.state: Literal["CLOSED", "OPEN", "HALF_OPEN"] = "CLOSED"
        self.failure_count = 0
        self.last_failure_time: float | None = None
        self._opened_at = 0.0

    async def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `func(*args, **kwargs)` and returns the result, awaited if it is awaitable.

        Raises:
            RuntimeError: The circuit is open; `func` was not called.
            Exception: Any exception of `func`, after counting it.
        """
        self._admit()
        try:
            result = func(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except Exception:
            self._failed()
            raise
        except BaseException:
            # Cancelling says nothing about the callee, and its probe must not stay open forever.
            if self.state == "HALF_OPEN":
                self.state = "OPEN"
            raise
        self.state = "CLOSED"
        self.failure_count = 0
        return result

    def _admit(self) -> None:
        if self.state == "CLOSED":
            return
        waited = time.monotonic() - self._opened_at
        if self.state == "HALF_OPEN" or waited < self.recovery_timeout:
            raise RuntimeError("Circuit breaker is OPEN")
        self.state = "HALF_OPEN"

    def _failed(self) -> None:
        self.failure_count += 1
        self.last_failure_time = time.time()
        if self.state == "HALF_OPEN" or self.failure_count >= self.failure_threshold:
            self.state = "OPEN"
            self._opened_at = time.monotonic()
