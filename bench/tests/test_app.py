import inspect

import pytest

from guard_agent.protocols import AgentHandlerProtocol
from harness.cases import app_baselines, taken
from scripts.nothing import Nothing


@pytest.mark.parametrize(
    "method", [name for name in vars(AgentHandlerProtocol) if not name.startswith("_")]
)
def test_the_agent_that_does_nothing_has_the_methods_of_an_agent(method: str) -> None:
    wanted = inspect.iscoroutinefunction(getattr(AgentHandlerProtocol, method))
    assert inspect.iscoroutinefunction(getattr(Nothing, method)) == wanted


def test_what_an_agent_takes_is_told_beside_one_that_does_nothing() -> None:
    nothing = {"requests_per_second": [100.0, 200.0, 100.0], "cpu_us": [700.0, 710.0, 690.0]}
    ours = {"requests_per_second": [99.0, 196.0, 101.0], "cpu_us": [708.0, 715.0, 702.0]}
    assert taken("ours", nothing, ours) == (
        "app under wrk, cost of ours over an agent that does nothing: "
        "1.00 % of the requests (-1.00..2.00); goal at most 2 %, "
        "8.00 us of CPU per request (5.00..12.0)"
    )


def test_only_ours_has_a_goal() -> None:
    figures = {"requests_per_second": [100.0], "cpu_us": [700.0]}
    assert "goal" not in taken("guard-agent 3.2.4", figures, figures)


def test_a_baseline_tells_requests_and_cpu() -> None:
    assert app_baselines("agent off", {"requests_per_second": [1422.0], "cpu_us": [702.0]}) == [
        "app under wrk, agent off: requests: 1,422 /s (1,422..1,422)",
        "app under wrk, agent off: CPU of the process per request: 702 us (702..702)",
    ]
