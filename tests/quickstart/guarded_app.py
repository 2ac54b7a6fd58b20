"""An application with a protected endpoint of every kind. Its handlers show their arguments in
the response header X-Handled, or in the response body."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from fastapi_guard.fastapi_guard import Guard, ProtectionError

if TYPE_CHECKING:
    from typing import TypedDict

    class Known(TypedDict):
        path: str


class Count:
    """Counts the requests it gets, and lets them pass."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    async def handle(self, request: Request, exc: Exception) -> None:
        assert isinstance(exc, ProtectionError)
        self.handled.append(f"{exc.key} {exc.reason} {request.url.path}")


class CountPlainly(Count):
    def handle(self, request: Request, exc: Exception) -> None:  # type: ignore[override]
        self.handled.append(f"{exc} {request.url.path}")


class Answer:
    async def handle(self, _request: Request, exc: Exception) -> Response:
        return JSONResponse({"instead": str(exc)}, status_code=418)


class Refuse:
    async def handle(self, _request: Request, exc: Exception) -> None:
        raise exc


class Fail:
    async def handle(self, _request: Request, _exc: Exception) -> None:
        raise LookupError("the handler's own")


async def find_script(request: Request) -> str | None:
    agent = request.headers.get("user-agent", "")
    return f"a script: {agent}" if "script" in agent else None


count, count_plainly = Count(), CountPlainly()
guard = Guard(
    handlers={
        "counted": count,
        "counted_plainly": count_plainly,
        "answered": Answer(),
        "refused": Refuse(),
        "failed": Fail(),
        "script": Answer(),
        "forbidden": Answer(),
    },
    detectors={
        "script": find_script,
        "forbidden": lambda request: request.query_params.get("q") == "no" and "q is no",
    },
)
app = FastAPI()


@app.exception_handler(LookupError)
async def on_lookup_error(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=500)


@app.get("/handled")
def handled() -> list[str]:
    return count.handled + count_plainly.handled


@app.get("/async/{number}")
@guard.protect("counted")
async def asynchronous(number: int, q: str = "none") -> dict[str, str | int]:
    """Says what it was given."""
    return {"number": number, "q": q, "thread": threading.current_thread().name}


@app.get("/sync/{number}")
@guard.protect("counted_plainly")
def synchronous(number: int, q: str = "none") -> dict[str, str | int]:
    return {"number": number, "q": q, "thread": threading.current_thread().name}


@app.get("/with-request")
@guard.protect("counted")
async def with_request(incoming: Request) -> dict[str, str]:
    return {"path": incoming.url.path}


@app.get("/with-annotated-request")
@guard.protect("counted")
def with_annotated_request(incoming: Annotated[Request, "the request"]) -> dict[str, str]:
    return {"path": incoming.url.path}


@app.get("/with-answer-of-unknown-type", response_model=None)
@guard.protect("counted")
async def with_answer_of_unknown_type(request: Request) -> Known:
    return {"path": request.url.path}


@app.get("/with-arguments")
@guard.protect("counted")
def with_arguments(**more: str) -> dict[str, str]:
    return more


@app.post("/twice")
@guard.protect("counted")
@guard.protect("counted_plainly")
async def twice(request: Request) -> dict[str, str]:
    return {"body": (await request.body()).decode()}


@app.get("/stream")
@guard.protect("counted")
def stream() -> StreamingResponse:
    return StreamingResponse(iter(["one ", "two"]))


@app.get("/answered")
@guard.protect("answered")
async def answered() -> None:
    raise AssertionError("the endpoint is not to run")


@app.get("/refused")
@guard.protect("refused")
async def refused() -> None:
    raise AssertionError("the endpoint is not to run")


@app.get("/failed")
@guard.protect("failed")
async def failed() -> None:
    raise AssertionError("the endpoint is not to run")


@app.get("/people-only")
@guard.protect("script")
async def people_only() -> dict[str, str]:
    return {"hello": "human"}


@app.get("/search")
@guard.protect("forbidden")
def search(q: str) -> dict[str, str]:
    return {"q": q}
