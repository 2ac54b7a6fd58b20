"""A server in use: with agents, an attack, rules, people and views."""

from datetime import datetime, timedelta, timezone
from typing import Any

import requests
from support.guard_server import ADMIN_TOKEN, PROJECT, GuardServer
from support.process import PATIENCE_SECONDS

ADDRESS = "203.0.113.7"
PASSWORD = "correct horse battery staple"
INSTALL = {"X-Agent-Install-Id": "shop-eu-1", "User-Agent": "fastapi-guard-agent/2.0.0"}


class Shop:
    """What the calls of a test need, and what they leave behind."""

    def __init__(self, server: GuardServer) -> None:
        self.server = server
        self.now = datetime.now(timezone.utc)
        self.made = 0
        self.tokens = {role: self.token(role) for role in ("viewer", "operator", "admin")}
        self.send()
        self.set_rules()

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Makes a call that has to succeed, as an admin."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return self.call(method, path, body, headers).json()

    def call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> requests.Response:
        answer = requests.request(
            method, self.server.url + path, json=body, headers=headers, timeout=PATIENCE_SECONDS
        )
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def agent(self, method: str, path: str, body: Any = None) -> None:
        self.call(method, path, body, {"X-API-Key": self.server.api_key, **INSTALL})

    def name(self, kind: str) -> str:
        """A name that nothing has yet."""
        self.made += 1
        return f"{kind}-{self.made}"

    def token(self, role: str) -> str:
        body = {"label": role, "role": role, "projects": ["*"]}
        token: str = self.admin("POST", "/api/v1/tokens", body)["token"]
        return token

    def send(self) -> None:
        """What agents send."""
        events = [self.event(n) for n in range(6)]
        metrics = [self.metric(n) for n in range(4)]
        # One record cannot be stored, so the server has a loss of its own.
        batch = {"batch_id": "1", "events": [*events, {}], "metrics": metrics}
        self.agent("POST", "/api/v1/events", batch)
        ledger = {"accepted": 42, "delivered": 41, "queued": 0, "spooled": 0}
        for dropped in ({"queue_full": 1}, {"queue_full": 2}):
            report = {
                "timestamp": self.at(0), "status": "healthy", "uptime": 3600.5, "errors": [],
                "buffer_size": 0, "hostname": "shop-1", "pid": 4711, "agent_version": "2.0.0",
                "last_flush": self.at(1), "ledger": {**ledger, "dropped": dropped},
            }  # fmt: skip
            self.agent("POST", "/api/v1/status", report)
        self.agent("GET", "/api/v1/rules")

    def at(self, minutes_ago: float) -> str:
        return (self.now - timedelta(minutes=minutes_ago)).isoformat()

    def event(self, n: int) -> dict[str, Any]:
        return {
            "timestamp": self.at(5 - n / 10), "event_type": "penetration_attempt",
            "ip_address": ADDRESS, "country": "NL", "user_agent": "sqlmap/1.8",
            "action_taken": "logged_only" if n % 3 == 0 else "request_blocked",
            "reason": "SQL injection", "endpoint": "/api/items", "method": "GET",
            "status_code": 403, "response_time": 0.002, "rule_type": "pattern",
            "metadata": {"guard.rule.id": "r1", "guard.behavior.correlation_key": "c1"},
        }  # fmt: skip

    def metric(self, n: int) -> dict[str, Any]:
        kind = ("response_time", "request_count")[n % 2]
        tags = {"endpoint": "/api/items", "method": "GET", "status": "200"}
        return {"timestamp": self.at(5), "metric_type": kind, "value": 0.042 + n % 2, "tags": tags}

    def set_rules(self) -> None:
        self.admin("PUT", f"{PROJECT}/rules/published", {"document": {"global_rate_limit": 600}})
        for ip in (ADDRESS, "198.51.100.0/24"):
            body = {"ip": ip, "reason": "attack", "duration_s": 3600}
            self.admin("POST", f"{PROJECT}/rules/bans", body)
        self.agent("GET", "/api/v1/rules")

    # What single calls need before they are made.

    def event_id(self) -> str:
        events = self.admin("GET", f"{PROJECT}/events?limit=1")["items"]
        found: str = events[0]["id"]
        return found

    def view(self) -> str:
        view: str = self.admin("POST", f"{PROJECT}/views", {"name": "Attacks"})["id"]
        return view

    def key(self) -> str:
        key: str = self.admin("POST", f"{PROJECT}/keys", {"label": "shop-us"})["id"]
        return key

    def token_id(self) -> str:
        body = {"label": self.name("ci"), "role": "viewer", "projects": ["*"]}
        token: str = self.admin("POST", "/api/v1/tokens", body)["id"]
        return token

    def project(self) -> str:
        name = self.name("shop")
        self.admin("POST", "/api/v1/projects", {"name": name})
        return name

    def person(self, **more: Any) -> str:
        name = self.name("anna")
        body = {"name": name, "role": "viewer", "projects": ["*"], **more}
        self.admin("POST", "/api/v1/people", body)
        return name

    def link(self) -> str:
        """The token of a link for a new person."""
        link: str = self.admin("POST", f"/api/v1/people/{self.person()}/link")["link"]
        return link.rpartition("token=")[2]

    def session(self) -> dict[str, str]:
        """The headers of somebody who signed in."""
        body = {"name": self.person(password=PASSWORD), "password": PASSWORD}
        answer = self.call("POST", "/api/v1/session", body, {})
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "Origin": self.server.url}

    def draft(self) -> None:
        body = {"document": {"blocked_countries": ["KP"]}}
        self.admin("PUT", f"{PROJECT}/rules/draft", body)

    def entry(self) -> str:
        body = {"ip": f"192.0.2.{self.made % 250}", "duration_s": 3600}
        self.made += 1
        entry: str = self.admin("POST", f"{PROJECT}/rules/bans", body)["id"]
        return entry

    def alert(self) -> str:
        """The id of a new alert."""
        condition = {"type": "threshold", "count": 5, "window_s": 60}
        body = {"label": self.name("Alert"), "condition": condition}
        return str(self.admin("POST", f"{PROJECT}/alerts", body)["id"])

    def channel(self) -> str:
        """The id of a new channel. Nothing listens there."""
        body = {"label": self.name("Channel"), "type": "webhook", "url": "http://127.0.0.1:9/guard"}
        return str(self.admin("POST", "/api/v1/channels", body)["id"])
