"""Passes the requests of protected endpoints to the application's own handlers."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol, TypeAlias, get_args, get_origin

try:
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket
except ImportError as error:
    raise ImportError(
        "fastapi_guard.fastapi_guard needs FastAPI, which is not installed: pip install fastapi"
    ) from error

__all__ = ["Detector", "Guard", "Handler", "ProtectionError"]

# The parameter added to endpoints that take no request themselves.
_REQUEST = "guarded_request"

Endpoint: TypeAlias = Callable[..., Any]
Detector: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]
"""Returns the reason to pass a request to the handler, or None. May be a coroutine function."""


class Handler(Protocol):
    """Receives requests from `Guard`."""

    def handle(self, request: Request, exc: Exception) -> Any:
        """Inspects a request before its endpoint runs. May be a coroutine function.

        Args:
            request: The request.
            exc: A `ProtectionError` that names the protection and the reason.

        Returns:
            A `Response` to send instead of the endpoint's response. With any other value the
            endpoint runs.

        Raises:
            Exception: Propagates to the application. `exc` itself produces a 403.
        """


class ProtectionError(HTTPException):
    """A protection applied to the request. Raised by a handler, it gives a 403 without the reason.

    Attributes:
        key: The protection's key, as passed to `Guard.protect`.
        reason: What the detector found; None without a detector.
    """

    def __init__(self, key: str, reason: str | None = None) -> None:
        """Creates the error. Its text names the protection and the reason."""
        super().__init__(status_code=403, detail="Forbidden")
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        """Returns the protection, followed by a colon and the reason."""
        return self.key if self.reason is None else f"{self.key}: {self.reason}"


class Guard:
    """Runs handlers before endpoints.

    Args:
        handlers: The handler of each protection, by key.
        detectors: Functions that select requests, by key. Without one, all requests are handled.

    Raises:
        ValueError: A detector's key has no handler.

    Example:
        >>> from fastapi import FastAPI
        >>> class Refuse:
        ...     async def handle(self, request, exc):
        ...         raise exc
        >>> def is_script(request):
        ...     return "a script" if "curl" in request.headers["user-agent"] else None
        >>> guard = Guard(handlers={"people_only": Refuse()}, detectors={"people_only": is_script})
        >>> app = FastAPI()
        >>> @app.get("/")
        ... @guard.protect("people_only")
        ... def home():
        ...     return "Hello"
    """

    def __init__(
        self, handlers: Mapping[str, Handler], detectors: Mapping[str, Detector] | None = None
    ) -> None:
        """Checks that each detector has a handler."""
        self._handlers = dict(handlers)
        self._detectors = dict(detectors or {})
        for key in self._detectors:
            self._check(key)

    def protect(self, key: str) -> Callable[[Endpoint], Endpoint]:
        """Returns a decorator for a FastAPI endpoint. Place it below the route decorator.

        The endpoint, a plain or a coroutine function with or without a `Request` parameter, keeps
        its signature. Before it runs, the handler of `key` receives the request. With a detector,
        the handler receives only requests in which the detector finds something. Handlers and
        detectors run on the event loop, so plain ones must not block. Plain endpoints run in a
        thread, as without the decorator.

        Raises:
            ValueError: `key` has no handler.
            TypeError: The endpoint is a generator function, or one for a WebSocket.
        """
        self._check(key)

        def decorate(endpoint: Endpoint) -> Endpoint:
            if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
                raise TypeError(
                    f"{endpoint.__qualname__} is a generator function, which cannot be protected; "
                    "return a StreamingResponse instead"
                )
            return self._guarded(key, endpoint)

        return decorate

    def _guarded(self, key: str, endpoint: Endpoint) -> Endpoint:
        signature = _evaluated_signature(endpoint)
        if _parameter_of(signature, WebSocket):
            raise TypeError(
                f"{endpoint.__qualname__} is for a WebSocket, which has no request and cannot be "
                "protected; look at what the client sends in the endpoint itself"
            )
        name = _parameter_of(signature, Request)
        guarded_signature = signature if name else _with_request(signature)

        @functools.wraps(endpoint)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            bound = guarded_signature.bind(*args, **kwargs)
            request = bound.arguments[name] if name else bound.arguments.pop(_REQUEST)
            answer = await self._hand_over(key, request)
            if isinstance(answer, Response):
                return answer
            if inspect.iscoroutinefunction(endpoint):
                return await endpoint(*bound.args, **bound.kwargs)
            return await run_in_threadpool(endpoint, *bound.args, **bound.kwargs)

        guarded.__signature__ = guarded_signature  # type: ignore[attr-defined]
        return guarded

    async def _hand_over(self, key: str, request: Request) -> Any:
        reason = None
        if detector := self._detectors.get(key):
            reason = await _settled(detector(request))
            if not reason:
                return None
        return await _settled(self._handlers[key].handle(request, ProtectionError(key, reason)))

    def _check(self, key: str) -> None:
        if key not in self._handlers:
            known = ", ".join(map(repr, self._handlers)) or "none"
            raise ValueError(f"no handler for {key!r}; Guard has handlers for: {known}")


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _evaluated_signature(endpoint: Endpoint) -> inspect.Signature:
    """Returns the signature with resolved annotations. Names that do not resolve stay strings."""
    signature = inspect.signature(endpoint)
    names = getattr(inspect.unwrap(endpoint), "__globals__", {})
    parameters = [
        parameter.replace(annotation=_evaluated(parameter.annotation, names))
        for parameter in signature.parameters.values()
    ]
    answer = _evaluated(signature.return_annotation, names)
    return signature.replace(parameters=parameters, return_annotation=answer)


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)  # noqa: S307 - it is code of the application's
    except Exception:
        return annotation


def _parameter_of(signature: inspect.Signature, kind: type) -> str | None:
    for parameter in signature.parameters.values():
        annotation = parameter.annotation
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if inspect.isclass(annotation) and issubclass(annotation, kind):
            return parameter.name
    return None


def _with_request(signature: inspect.Signature) -> inspect.Signature:
    """Adds a parameter through which FastAPI passes the request."""
    request = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    parameters = list(signature.parameters.values())
    has_kwargs = parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    parameters.insert(len(parameters) - bool(has_kwargs), request)
    return signature.replace(parameters=parameters)
