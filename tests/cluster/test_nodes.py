"""Nodes share everything: rules, sessions, live events, and the work that is done once."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import requests
from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT
from support.process import eventually

from cluster.cluster import Cluster, Node

KEY = {"X-API-Key": API_KEY}
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def event(**fields: object) -> dict[str, object]:
    now = datetime.now(timezone.utc).isoformat()
    key = str(uuid.uuid4())
    return {"timestamp": now, "event_type": "ip_banned", "idempotency_key": key, **fields}


def send(node: Node, *events: dict[str, object]) -> None:
    answer = requests.post(
        f"{node.url}/api/v1/events", json={"events": events}, headers=KEY, timeout=30
    )
    assert answer.status_code == 200, answer.text


class Held(threading.Thread):
    """A request for rules that waits on a node until they change."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.url = f"{node.url}/api/v1/rules"
        self.tag = requests.get(self.url, headers=KEY, timeout=30).headers["ETag"]
        self.rules: dict[str, Any] = {}

    def run(self) -> None:
        wait = {"If-None-Match": self.tag, "Prefer": "wait=55"}
        answer = requests.get(self.url, headers=KEY | wait, timeout=70)
        self.rules = answer.json() if answer.content else {}


@pytest.mark.parametrize("hops", [1, 2])
def test_rules_published_on_one_node_reach_agents_held_on_others(
    cluster: Cluster, hops: int
) -> None:
    held = [Held(node) for node in cluster.nodes[1 : 1 + hops]]
    for request in held:
        request.start()
    eventually(lambda: all(waits_on(node) for node in cluster.nodes[1 : 1 + hops]))
    ban = {"ip": f"203.0.113.{hops}"}
    url = f"{cluster.nodes[0].url}{PROJECT}/rules/bans"
    assert requests.post(url, json=ban, headers=ADMIN, timeout=30).status_code == 200
    for request in held:
        request.join()
        assert ban["ip"] in request.rules["ip_blacklist"]


def waits_on(node: Node) -> bool:
    return "\nguard_server_held_requests 1\n" in node.metrics()


def test_a_session_works_on_every_node_and_ends_on_every_node(cluster: Cluster) -> None:
    one, other = cluster.nodes[:2]
    person = {"name": "ann", "role": "admin", "projects": ["*"], "password": "correct horse 1"}
    answer = requests.post(f"{one.url}/api/v1/people", json=person, headers=ADMIN, timeout=30)
    assert answer.status_code == 200, answer.text
    browser = requests.Session()
    sign_in = {"name": "ann", "password": "correct horse 1"}
    assert browser.post(f"{one.url}/api/v1/session", json=sign_in, timeout=30).ok
    cookie = {"Cookie": f"guard_session={browser.cookies['guard_session']}"}
    for node in cluster.nodes:
        found = requests.get(f"{node.url}/api/v1/session", headers=cookie, timeout=30)
        assert found.json()["name"] == "ann"
    leave = cookie | {"Origin": other.url}
    assert requests.delete(f"{other.url}/api/v1/session", headers=leave, timeout=30).ok
    for node in cluster.nodes:
        found = requests.get(f"{node.url}/api/v1/session", headers=cookie, timeout=30)
        assert found.status_code == 401


def tail(node: Node) -> tuple[requests.Response, Iterator[str]]:
    """A live stream, once it has begun, and the keys of its events."""
    answer = requests.get(
        f"{node.url}{PROJECT}/events/tail", headers=ADMIN, stream=True, timeout=60
    )
    lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
    next(lines)

    def keys() -> Iterator[str]:
        for line in lines:
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))["event"]["idempotency_key"]

    return answer, keys()


def test_a_live_tail_sees_what_other_nodes_took(cluster: Cluster) -> None:
    answer, keys = tail(cluster.nodes[0])
    sent = []
    for node in cluster.nodes:
        for _ in range(5):
            new = event()
            send(node, new)
            sent.append(new["idempotency_key"])
    with answer:
        found = [next(keys) for _ in sent]
    assert sorted(found) == sorted(map(str, sent))


def test_a_record_sent_to_two_nodes_counts_once_everywhere(cluster: Cluster) -> None:
    kind = f"twice_{uuid.uuid4().hex}"
    record = event(event_type=kind)
    for node in [*cluster.nodes, *cluster.nodes]:
        send(node, record)
    for node in cluster.nodes:
        query: dict[str, str] = {"filter": f"event_type:{kind}"}
        assert len(node.get(f"{PROJECT}/events", **query)["items"]) == 1
        top = node.get(f"{PROJECT}/events/top", by="event_type", **query)
        assert [(item["key"], item["count"]) for item in top["items"]] == [(kind, 1)]
        series = node.get(f"{PROJECT}/events/series", by="event_type", **query)
        assert sum(sum(line["counts"]) for line in series["series"]) == 1


def test_a_change_of_a_key_holds_on_every_node_at_once(cluster: Cluster) -> None:
    url = f"{cluster.nodes[0].url}{PROJECT}/keys"
    made = requests.post(url, json={"label": "short"}, headers=ADMIN, timeout=30).json()
    mine = {"X-API-Key": made["key"]}
    for node in cluster.nodes:
        assert requests.get(f"{node.url}/api/v1/rules", headers=mine, timeout=30).ok
    assert requests.delete(f"{url}/{made['id']}", headers=ADMIN, timeout=30).ok
    for node in cluster.nodes:
        answer = requests.get(f"{node.url}/api/v1/rules", headers=mine, timeout=30)
        assert answer.status_code == 401


def test_exactly_one_node_leads_and_another_takes_over_when_it_dies(cluster: Cluster) -> None:
    leader = cluster.leader()
    others = [node for node in cluster.nodes if node is not leader]
    assert not any(node.leads() for node in others)
    leader.kill()
    eventually(lambda: any(node.leads() for node in others), 30)
    leader.start()
    eventually(leader.is_ready)
    assert sum(node.leads() for node in cluster.nodes) == 1
