"""The rate limiter and the circuit breaker, with a clock that the test controls."""

import asyncio

import pytest

from guard_agent import CircuitBreaker, RateLimiter, resilience


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resilience, "time", clock)
    return clock


async def fail() -> None:
    raise OSError("no")


async def succeed(value: int) -> int:
    return value


def test_a_limiter_allows_max_calls_per_window(clock: Clock) -> None:
    async def program() -> None:
        limiter = RateLimiter(max_calls=2, time_window=60)
        assert [await limiter.acquire() for _ in range(3)] == [True, True, False]
        assert limiter.get_retry_after() == 60.0
        clock.now += 59
        assert await limiter.acquire() is False
        clock.now += 1
        assert limiter.get_retry_after() == 0.0
        assert await limiter.acquire() is True

    asyncio.run(program())


@pytest.mark.parametrize(
    ("max_calls", "time_window", "field"), [(0, 1, "max_calls"), (1, 0, "time_window")]
)
def test_a_limiter_without_calls_or_window_is_rejected(
    max_calls: int, time_window: float, field: str
) -> None:
    with pytest.raises(ValueError, match=field):
        RateLimiter(max_calls, time_window)


def test_a_breaker_opens_after_consecutive_failures(clock: Clock) -> None:
    async def program() -> None:
        breaker = CircuitBreaker(failure_threshold=2, recovery_timeout=60)
        for _ in range(2):
            with pytest.raises(OSError, match="no"):
                await breaker.call(fail)
        assert (breaker.state, breaker.failure_count) == ("OPEN", 2)
        assert breaker.last_failure_time == clock.now
        with pytest.raises(RuntimeError, match="Circuit breaker is OPEN"):
            await breaker.call(succeed, 1)

    asyncio.run(program())


def test_a_success_in_between_starts_the_count_again() -> None:
    async def program() -> None:
        breaker = CircuitBreaker(failure_threshold=2)
        for _ in range(3):
            with pytest.raises(OSError, match="no"):
                await breaker.call(fail)
            assert await breaker.call(succeed, 1) == 1
        assert (breaker.state, breaker.failure_count) == ("CLOSED", 0)

    asyncio.run(program())


@pytest.mark.parametrize(("probe_fails", "state"), [(True, "OPEN"), (False, "CLOSED")])
def test_one_probe_decides_after_the_recovery_timeout(
    clock: Clock, probe_fails: bool, state: str
) -> None:
    async def program() -> None:
        breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
        with pytest.raises(OSError, match="no"):
            await breaker.call(fail)
        clock.now += 60
        if probe_fails:
            with pytest.raises(OSError, match="no"):
                await breaker.call(fail)
        else:
            assert await breaker.call(succeed, 7) == 7
        assert breaker.state == state

    asyncio.run(program())


def test_a_cancelled_probe_leaves_the_breaker_open(clock: Clock) -> None:
    async def program() -> None:
        breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
        with pytest.raises(OSError, match="no"):
            await breaker.call(fail)
        clock.now += 60
        probe = asyncio.ensure_future(breaker.call(asyncio.sleep, 3600))
        await asyncio.sleep(0)
        states = [breaker.state]
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        states.append(breaker.state)
        assert states == ["HALF_OPEN", "OPEN"]

    asyncio.run(program())


def test_a_breaker_calls_plain_functions_too() -> None:
    assert asyncio.run(CircuitBreaker().call(int, "7")) == 7
