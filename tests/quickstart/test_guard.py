"""Guard with the endpoints of a real application."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.websockets import WebSocket
from support.process import PATIENCE_SECONDS

from fastapi_guard.fastapi_guard import Guard
from quickstart.app import App


@pytest.fixture
def app(start_app: Callable[..., App]) -> App:
    return start_app(Path(__file__).with_name("guarded_app.py"))


def get(app: App, path: str, **headers: str) -> "requests.Response":
    return requests.get(app.url + path, headers=headers, timeout=PATIENCE_SECONDS)


def handled(app: App) -> Any:
    return get(app, "/handled").json()


def test_a_coroutine_endpoint_runs_on_the_event_loop(app: App) -> None:
    answer = get(app, "/async/7?q=x").json()
    assert answer == {"number": 7, "q": "x", "thread": "MainThread"}
    assert handled(app) == ["counted None /async/7"]


def test_a_plain_endpoint_runs_in_a_thread(app: App) -> None:
    answer = get(app, "/sync/7").json()
    assert (answer["number"], answer["q"]) == (7, "none")
    assert answer["thread"] != "MainThread"
    assert handled(app) == ["counted_plainly /sync/7"]


@pytest.mark.parametrize(
    "path", ["/with-request", "/with-annotated-request", "/with-answer-of-unknown-type"]
)
def test_an_endpoint_keeps_its_own_request_parameter(app: App, path: str) -> None:
    assert get(app, path).json() == {"path": path}
    assert handled(app) == [f"counted None {path}"]


def test_an_endpoint_may_take_arguments_by_name(app: App) -> None:
    assert get(app, "/with-arguments?more=x").json() == {"more": "x"}
    assert handled(app) == ["counted None /with-arguments"]


def test_an_endpoint_may_be_protected_twice_and_still_reads_the_body(app: App) -> None:
    answer = requests.post(app.url + "/twice", data="text", timeout=PATIENCE_SECONDS)
    assert answer.json() == {"body": "text"}
    assert handled(app) == ["counted None /twice", "counted_plainly /twice"]


def test_an_endpoint_may_return_a_response(app: App) -> None:
    assert get(app, "/stream").text == "one two"
    assert handled(app) == ["counted None /stream"]


def test_parameters_are_checked_and_documented_as_without_a_guard(app: App) -> None:
    assert get(app, "/async/seven").status_code == 422
    described = get(app, "/openapi.json").json()["paths"]["/async/{number}"]["get"]
    assert [parameter["name"] for parameter in described["parameters"]] == ["number", "q"]
    assert described["description"] == "Says what it was given."
    assert described["operationId"] == "asynchronous_async__number__get"
    assert handled(app) == []


def test_a_returned_response_is_sent_instead_of_the_endpoints_answer(app: App) -> None:
    answer = get(app, "/answered")
    assert (answer.status_code, answer.json()) == (418, {"instead": "answered"})


def test_a_raised_exception_propagates_to_the_application(app: App) -> None:
    answer = get(app, "/failed")
    assert (answer.status_code, answer.json()) == (500, {"error": "the handler's own"})


def test_raising_the_protection_error_answers_403_without_a_reason(app: App) -> None:
    answer = get(app, "/refused")
    assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"})


def test_a_detector_selects_the_handled_requests(app: App) -> None:
    assert get(app, "/people-only").json() == {"hello": "human"}
    found = get(app, "/people-only", **{"User-Agent": "script/1"})
    assert found.json() == {"instead": "script: a script: script/1"}


def test_a_detector_may_be_a_plain_function(app: App) -> None:
    assert get(app, "/search?q=yes").json() == {"q": "yes"}
    assert get(app, "/search?q=no").json() == {"instead": "forbidden: q is no"}


def test_an_unknown_protection_is_rejected_at_startup() -> None:
    with pytest.raises(ValueError, match=r"no handler for 'other'; Guard has handlers for: 'one'"):
        Guard(handlers={"one": object()}).protect("other")
    with pytest.raises(ValueError, match=r"no handler for 'other'; .*: none"):
        Guard(handlers={}, detectors={"other": lambda _request: None})


def test_a_generator_cannot_be_protected() -> None:
    def stream() -> Any:
        yield "part"

    with pytest.raises(TypeError, match=r"stream is a generator function, .*StreamingResponse"):
        Guard(handlers={"one": object()}).protect("one")(stream)


def test_an_endpoint_for_a_websocket_cannot_be_protected() -> None:
    async def talk(_socket: WebSocket) -> None: ...

    with pytest.raises(TypeError, match=r"talk is for a WebSocket, which has no request"):
        Guard(handlers={"one": object()}).protect("one")(talk)


def test_without_fastapi_the_import_says_what_is_missing() -> None:
    program = "import sys; sys.modules['starlette'] = None; import fastapi_guard.fastapi_guard"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "needs FastAPI, which is not installed: pip install fastapi" in result.stderr


def test_redis_is_needed_only_for_a_redis_handler() -> None:
    program = "import sys; sys.modules['redis'] = None; import fastapi_guard.redis_handler"
    subprocess.run([sys.executable, "-c", program], check=True)
