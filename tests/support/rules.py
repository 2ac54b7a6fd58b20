"""Changes the rules of a running server over HTTP, as people and programs do."""

from typing import Any

import requests

from support.guard_server import ADMIN_TOKEN, PROJECT, GuardServer
from support.process import PATIENCE_SECONDS


class Rules:
    """Changes the rules of the server's project; each change returns the version it made."""

    def __init__(self, server: GuardServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
        self._added: list[tuple[str, dict[str, Any], str]] = []

    def add(self, collection: str, **fields: Any) -> int:
        """Creates an operation, such as a ban in "bans"."""
        answer = self._change("POST", collection, fields)
        self._added.append((collection, fields, answer["id"]))
        return int(answer["version"])

    def remove(self, collection: str, **fields: Any) -> int:
        """Removes the operation that `add` created last in this collection with these fields."""
        [*_, entry] = (
            entry
            for of, added, entry in self._added
            if of == collection and fields.items() <= added.items()
        )
        return int(self._change("DELETE", f"{collection}/{entry}", {})["version"])

    def publish(self, *, confirm: bool = False, **document: Any) -> int:
        """Replaces the published document; operations stay."""
        body = {"document": document, "confirm": confirm}
        return int(self._change("PUT", "published", body)["version"])

    def roll_back(self, version: int) -> int:
        """Rolls back to a version."""
        return int(self._change("POST", f"versions/{version}/rollback", {})["version"])

    def document(self) -> dict[str, Any]:
        """The document that agents get."""
        document: dict[str, Any] = self.server.get("/api/v1/rules")
        return document

    def _change(self, method: str, path: str, body: dict[str, Any]) -> Any:
        url = f"{self.server.url}{PROJECT}/rules/{path}"
        answer = self.session.request(method, url, json=body, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()
