"""Secrets in the objects in which frameworks keep headers. `redaction.json` lists what Rust
redacts in text and in JSON objects; `guard-wire` tests that table in every field."""

import collections
import dataclasses
import email.message
import enum
import http.client
import http.cookies
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import requests.structures
import starlette.datastructures
import starlette.requests
from pydantic import BaseModel
from support import ROOT
from support.backend import Backend

from guard_agent import AgentConfig, SyncGuardAgentHandler, sanitize_headers

Make = Callable[..., AgentConfig]

TABLE: dict[str, Any] = json.loads(
    (ROOT / "crates/guard-wire/tests/redaction.json").read_text(encoding="utf-8")
)
SENSITIVE: list[str] = TABLE["sensitive_headers"]
SECRET = "s3cret"
HIDDEN = "[REDACTED]"
RAW = [(b"host", b"h"), (b"authorization", b"Bearer s3cret"), (b"cookie", b"id=s3cret")]
TEXT = [(name.decode(), value.decode()) for name, value in RAW]
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "method": "GET",
    "path": "/items",
    "query_string": b"page=2",
    "headers": RAW,
    "client": ("192.0.2.7", 1234),
}
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/items",
    "HTTP_HOST": "h",
    "HTTP_AUTHORIZATION": "Bearer s3cret",
    "HTTP_X_API_KEY": SECRET,
    "HTTP_COOKIE": "id=s3cret",
    "wsgi.input": io.BytesIO(b""),
}


class Name(enum.Enum):
    AUTHORIZATION = "authorization"
    RAW_COOKIE = b"cookie"


class Pair(NamedTuple):
    name: str
    value: str


@dataclasses.dataclass
class Header:
    name: str = "Cookie"
    value: str = SECRET


class HarHeader(BaseModel):
    name: str = "Cookie"
    value: str = SECRET


def message() -> email.message.Message:
    lines = b"Host: h\r\nAuthorization: Bearer s3cret\r\nCookie: id=s3cret\r\n\r\n"
    return http.client.parse_headers(io.BytesIO(lines))


# Objects that a program may store under a harmless name, and the place of their secret.
OBJECTS: dict[str, Any] = {
    "dict of bytes": dict(RAW),
    "dict of memoryviews": {memoryview(name): memoryview(value) for name, value in RAW},
    "ASGI scope": SCOPE,
    "Request of Starlette": starlette.requests.Request(SCOPE),
    "WSGI environ": ENVIRON,
    "pairs of bytes": RAW,
    "pairs of byte arrays": [[bytearray(name), bytearray(value)] for name, value in RAW],
    "pairs of text": TEXT,
    "named pairs": [Pair(*pair) for pair in TEXT],
    "names of an enum": {Name.AUTHORIZATION: SECRET, Name.RAW_COOKIE: SECRET},
    "pairs of an enum": [(Name.AUTHORIZATION, SECRET)],
    "Headers of Starlette": starlette.datastructures.Headers(raw=RAW),
    "MutableHeaders of Starlette": starlette.datastructures.MutableHeaders(raw=RAW),
    "headers of requests": requests.structures.CaseInsensitiveDict(TEXT),
    "message of http.client": message(),
    "SimpleCookie": http.cookies.SimpleCookie("id=s3cret"),
    "cookies one by one": {"cookies": {"id": SECRET}},
    "counts of header lines": collections.Counter(["Cookie: s3cret"]),
    "dataclass": Header(),
    "model": HarHeader(),
    "HAR": {"headers": [{"name": name, "value": value} for name, value in TEXT]},
    "HAR of bytes": [{b"name": b"Cookie", b"value": b"s3cret"}],
}
# Their printed form may hold a secret too.
PRINTED: dict[str, str] = {
    f"{printer.__name__} of {name}": printer(value)
    for name, value in OBJECTS.items()
    for printer in (str, repr)
    if SECRET in printer(value)
}
PRINTED["request head"] = repr(b"GET / HTTP/1.1\r\nCookie: s3cret\r\nHost: h\r\n\r\n")
PRINTED["bytes of header lines"] = message().as_string()


def sent(make_config: Make, backend: Backend, **fields: Any) -> dict[str, Any]:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event({"timestamp": 0, "event_type": "x", **fields})
    agent.flush_buffer()
    return backend.events[-1]


@pytest.mark.parametrize("name", OBJECTS)
def test_no_secret_of_an_object_is_sent(make_config: Make, backend: Backend, name: str) -> None:
    event = sent(make_config, backend, metadata={"request": OBJECTS[name]}, request=OBJECTS[name])
    assert SECRET not in json.dumps(event)
    assert SECRET not in json.dumps(sent(make_config, backend, metadata=OBJECTS[name]))
    assert SECRET not in json.dumps(sanitize_headers(OBJECTS[name], SENSITIVE))
    assert SECRET not in json.dumps(sanitize_headers({"deep": [OBJECTS[name]]}, SENSITIVE))


@pytest.mark.parametrize("name", PRINTED)
def test_no_secret_in_a_printed_form_is_sent(
    make_config: Make, backend: Backend, name: str
) -> None:
    for text in (PRINTED[name], f"blocked: {PRINTED[name]}, and more"):
        event = sent(make_config, backend, metadata={"note": text}, reason=text, endpoint=text)
        assert SECRET not in json.dumps(event)
        assert SECRET not in json.dumps(sanitize_headers({"note": text}, SENSITIVE))
        assert SECRET not in sanitize_headers(text, SENSITIVE)


@pytest.mark.parametrize("kind", ["texts", "values"])
def test_the_redaction_table_holds_for_python_objects(
    make_config: Make, backend: Backend, kind: str
) -> None:
    rows = [(row.get("text", row.get("value")), row["expected"]) for row in TABLE[kind]]
    given, expected = [row[0] for row in rows], [row[1] for row in rows]
    metadata = sent(make_config, backend, metadata={"rows": [[row] for row in given]})["metadata"]
    assert metadata["rows"] == [[row] for row in expected]
    assert [sanitize_headers(row, SENSITIVE) for row in given] == expected


def test_the_rest_of_a_scope_and_of_an_environ_is_sent(make_config: Make, backend: Backend) -> None:
    metadata = sent(make_config, backend, metadata={"scope": SCOPE, "environ": ENVIRON})["metadata"]
    hidden = [["host", "h"], ["authorization", HIDDEN], ["cookie", HIDDEN]]
    scope = SCOPE | {"headers": hidden, "query_string": "page=2", "client": ["192.0.2.7", 1234]}
    assert metadata["scope"] == scope
    shown = {name: metadata["environ"][name] for name in ("PATH_INFO", "HTTP_HOST", "HTTP_COOKIE")}
    assert shown == {"PATH_INFO": "/items", "HTTP_HOST": "h", "HTTP_COOKIE": HIDDEN}


def test_values_without_secrets_are_unchanged(make_config: Make, backend: Backend) -> None:
    kept = [*TABLE["texts_that_stay"], *TABLE["values_that_stay"]]
    metadata = sent(make_config, backend, metadata={"kept": [[value] for value in kept]})
    assert metadata["metadata"]["kept"] == [[value] for value in kept]
    assert sanitize_headers(kept[0], SENSITIVE) == kept[0]
