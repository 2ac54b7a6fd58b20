"""Calls every operation that /api/openapi.json describes, with the examples that it gives.

Each answer has to be as described, with no property that is not. The examples of answers in the
document are answers of such a run. After a change, record them again:

    GUARD_UPDATE_DOCS=1 pytest tests/openapi
"""

import json
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests
from support import ROOT
from support.guard_server import GuardServer
from support.process import PATIENCE_SECONDS

from openapi.document import Document, Operation
from openapi.shop import PASSWORD, Shop

RECORDED = ROOT / "crates/guard-server/src/http/openapi/examples.json"
# With it, the example of an encrypted batch was made.
ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ROLES = ("viewer", "operator", "admin")
# What no example needs to be longer than.
ITEMS, CHARACTERS = 2, 2000
# What has to exist before an operation is called: values of its path, query, body and headers.
Needs = dict[str, Any]
NEEDS: dict[str, Callable[[Shop], Needs]] = {
    "get_event": lambda shop: {"id": shop.event_id()},
    "delete_view": lambda shop: {"id": shop.view()},
    "change_alert": lambda shop: {"id": shop.alert()},
    "remove_alert": lambda shop: {"id": shop.alert()},
    "mute_alert": lambda shop: {"id": shop.alert()},
    "get_alert_history": lambda shop: {"id": shop.alert()},
    "change_channel": lambda shop: {"id": shop.channel()},
    "remove_channel": lambda shop: {"id": shop.channel()},
    "test_channel": lambda shop: {"id": shop.channel()},
    "revoke_key": lambda shop: {"id": shop.key()},
    "revoke_token": lambda shop: {"id": shop.token_id()},
    "change_project": lambda shop: {"project": shop.project()},
    "delete_project": lambda shop: {"project": shop.project()},
    "create_project": lambda shop: {"body": {"name": shop.name("shop")}},
    "add_person": lambda shop: {"body": {"name": shop.name("ben")}},
    "change_person": lambda shop: {"name": shop.person()},
    "delete_person": lambda shop: {"name": shop.person()},
    "make_link": lambda shop: {"name": shop.person()},
    "get_setup": lambda shop: {"token": shop.link()},
    "complete_setup": lambda shop: {"body": {"token": shop.link(), "name": None}},
    "sign_in": lambda shop: {"body": {"name": shop.person(password=PASSWORD)}},
    "sign_out": lambda shop: {"headers": shop.session()},
    "change_password": lambda shop: {"headers": shop.session()},
    "remove_operation": lambda shop: {"id": shop.entry()},
    "get_draft": lambda shop: shop.draft() or {},
    "get_draft_diff": lambda shop: shop.draft() or {},
    "discard_draft": lambda shop: shop.draft() or {},
    "publish_draft": lambda shop: shop.draft() or {},
}
# The properties of answers that are missing when there is nothing to say.
SOMETIMES = {
    "Added": {"link"},
    "Changed": {"id"},
    "ErrorAnswer": {"position"},
    "IngestAnswer": {"errors"},
    "KindSummary": {"other"},
    "LastStatus": {"report"},
    "Passive": {"approximate"},
    "ProjectSummary": {"wrong_keys", "wrong_passwords"},
    "QuietHours": {"tz"},
    "RulesVersion": {"document"},
    "SeriesAnswer": {"approximate"},
    "TopAnswer": {"approximate"},
}
# A document of rules says only what it sets.
DOCUMENT = "DynamicRules"
# Its answer has no end.
STREAM = "follow_events"
# For calls that are refused before anything is looked up.
NOTHING: Needs = {"id": "none", "name": "nobody", "token": "none"}


@pytest.fixture
def shop(new_server: Callable[..., GuardServer]) -> Shop:
    return Shop(new_server("--encryption-key", ENCRYPTION_KEY).start())


@pytest.fixture
def document(shop: Shop) -> Document:
    return Document(shop.call("GET", "/api/openapi.json", None, {}).json())


def credentials(shop: Shop, operation: Operation) -> dict[str, str]:
    """Those of somebody who may just call the operation."""
    if operation.is_for_agents():
        return {"X-API-Key": shop.server.api_key}
    takes_token = any("token" in each for each in operation.content["security"])
    return bearer(shop, operation.roles()[0]) if takes_token else {}


def bearer(shop: Shop, role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {shop.tokens[role]}"}


def send(
    shop: Shop, operation: Operation, body: Any, needs: Needs, headers: dict[str, str]
) -> requests.Response:
    """Calls an operation with the examples that it gives, except for what it needs."""
    path, values = operation.path, {**operation.examples("path"), **needs}
    for parameter in operation.parameters("path"):
        value = quote(values[parameter["name"]], safe="")
        path = path.replace(f"{{{parameter['name']}}}", value)
    query = operation.examples("query")
    names = {parameter["name"] for parameter in operation.parameters("query")}
    query |= {name: needs[name] for name in names & needs.keys()} | needs.get("query", {})
    if body is not None:
        body = {
            name: it for name, it in {**body, **needs.get("body", {})}.items() if it is not None
        }
    answer = requests.request(
        operation.method,
        shop.server.url + path,
        params=query,
        json=body,
        headers={**operation.examples("header"), **headers, **needs.get("headers", {})},
        timeout=PATIENCE_SECONDS,
        stream=operation.id == STREAM,
    )
    if operation.id == STREAM and answer.ok:
        keep_beginning(answer, shop)
    return answer


def keep_beginning(answer: requests.Response, shop: Shop) -> None:
    """Reads an endless answer up to an event, which an agent sends now."""
    shop.agent("POST", "/api/v1/events", {"events": [shop.event(9)]})
    text = b""
    for piece in answer.iter_content(None):
        text += piece
        if b"\ndata: " in text and text.endswith(b"\n\n"):
            break
    answer.close()
    answer._content = text


def problems(operation: Operation, answer: requests.Response) -> list[str]:
    """What in an answer is not as described."""
    status = str(answer.status_code)
    described = operation.answers().get(status)
    if described is None:
        return [f"{status} is not described: {answer.text:.300}"]
    content = described.get("content", {})
    media_type = answer.headers.get("Content-Type", "").partition(";")[0]
    if not content:
        return [f"{status} has a body"] if answer.content else []
    if media_type not in content:
        return [f"{status} has the type {media_type!r}"]
    if media_type != "application/json":
        return []
    found = operation.document.problems(content[media_type]["schema"], answer.json())
    return [f"{status}: {problem}" for problem in found]


def call_all(shop: Shop, document: Document) -> tuple[list[str], dict[str, Any]]:
    """Calls all operations. Returns what was not as described, and the answers."""
    wrong, answers = [], {}
    for operation in document.operations():
        for name, body in operation.bodies().items():
            # The examples of operations on the rules are named after their collections.
            needs = {"collection": name or "bans", **NEEDS.get(operation.id, lambda _: {})(shop)}
            answer = send(shop, operation, body, needs, credentials(shop, operation))
            found = problems(operation, answer)
            if str(answer.status_code) != operation.success():
                found.append(f"{answer.status_code}: {answer.text:.300}")
            wrong += [f"{operation.id}: {problem}" for problem in found]
            if answer.content:
                is_json = answer.headers["Content-Type"] == "application/json"
                answers.setdefault(operation.id, answer.json() if is_json else answer.text)
    return wrong, answers


def test_every_operation_answers_as_it_is_described(shop: Shop, document: Document) -> None:
    wrong, answers = call_all(shop, document)
    if os.environ.get("GUARD_UPDATE_DOCS"):
        answers.pop("get_openapi")
        recorded = {name: as_example(answer) for name, answer in sorted(answers.items())}
        text = json.dumps(recorded, indent=1, ensure_ascii=False)
        RECORDED.write_text(text + "\n")
    assert not wrong, "\n".join(wrong)


def as_example(answer: Any) -> Any:
    """A short answer without secrets and without what belongs to the machine."""
    if isinstance(answer, list):
        # The last ones: the buckets of a series end with what just happened.
        return [as_example(item) for item in answer[-ITEMS:]]
    if isinstance(answer, dict):
        return {name: as_example(value) for name, value in answer.items()}
    if not isinstance(answer, str):
        return answer
    answer = re.sub(r"http://127\.0\.0\.1:\d+", "https://guard.example", answer)
    answer = re.sub(r"\b((?:[fg][gt]_|token=)[\w-]{4})[\w-]{12,}", r"\1...", answer)
    return answer[:CHARACTERS].rpartition("\n")[0] if len(answer) > CHARACTERS else answer


def test_every_operation_has_examples_that_are_as_described(document: Document) -> None:
    wrong = []
    for operation in document.operations():
        content = operation.answers()[operation.success()].get("content", {})
        for media_type, described in list(content.items())[:1]:
            if operation.id == "get_openapi":
                continue
            if "example" not in described:
                wrong.append(f"{operation.id}: no example; record it with GUARD_UPDATE_DOCS=1")
            elif media_type == "application/json":
                wrong += document.problems(described["schema"], described["example"])
        for body in operation.bodies().values():
            if body is not None:
                schema = operation.content["requestBody"]["content"]["application/json"]["schema"]
                wrong += [f"{operation.id}: {it}" for it in document.problems(schema, body)]
    assert not wrong, "\n".join(wrong)


def test_the_description_says_which_properties_are_always_there(document: Document) -> None:
    found: dict[str, set[str]] = {}
    for name, schema in document.schemas_of_answers().items():
        parts = [schema, *schema.get("allOf", [])]
        missing = {
            key
            for part in parts
            for key in part.get("properties", {}).keys() - part.get("required", [])
        }
        if missing and name != DOCUMENT:
            found[name] = missing
    assert found == SOMETIMES


def test_nobody_calls_an_operation_without_the_role_that_it_names(
    shop: Shop, document: Document
) -> None:
    wrong = []
    for operation in document.operations():
        for headers, status, code in refusals(shop, operation):
            answer = send(
                shop, operation, next(iter(operation.bodies().values())), NOTHING, headers
            )
            found = problems(operation, answer)
            if (answer.status_code, answer.json().get("code")) != (status, code):
                found.append(f"{answer.status_code} {answer.text:.300}, not {status} {code}")
            wrong += [f"{operation.id}: {problem}" for problem in found]
    assert not wrong, "\n".join(wrong)


def refusals(shop: Shop, operation: Operation) -> list[tuple[dict[str, str], int, str]]:
    """Credentials that an operation has to refuse, and how."""
    if operation.is_open():
        return []
    if operation.is_for_agents():
        return [({}, 401, "unauthorized"), (bearer(shop, "admin"), 403, "not_an_agent")]
    role = operation.roles()[0]
    lower = ROLES[: ROLES.index(role)]
    return [
        ({}, 401, "sign_in_needed"),
        ({"X-API-Key": shop.server.api_key}, 403, "agent_key"),
        *((bearer(shop, each), 403, "role_needed") for each in lower),
    ]


def test_every_parameter_of_a_query_is_described(shop: Shop, document: Document) -> None:
    wrong = []
    for operation in document.operations():
        if operation.method != "get" or "{project}" not in operation.path:
            continue
        needs = {**NOTHING, "query": {"no_such_parameter": "1"}}
        answer = send(shop, operation, None, needs, bearer(shop, "admin"))
        if answer.status_code != 400 or answer.json()["code"] != "unknown_parameter":
            continue
        _, _, listed = answer.json()["detail"].partition("this call; it has ")
        names = {parameter["name"] for parameter in operation.parameters("query")}
        if names != set(filter(None, listed.split(", "))):
            wrong.append(f"{operation.id}: it takes {listed}, but {names} are described")
    assert not wrong, "\n".join(wrong)
