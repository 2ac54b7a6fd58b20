"""Stores and nodes go away and come back, while agents go on."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from faults.writers import Crowd, Writers
from support.guard_server import ADMIN_TOKEN, PROJECT
from support.process import eventually

from cluster.cluster import Cluster, Node

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
WRITERS = 8


@contextmanager
def pressed(cluster: Cluster) -> Iterator[Writers]:
    """Writers behind the balancer. In the end, every acknowledged record counts once."""
    writers = Writers(cluster.url)
    with Crowd(*[writers.write] * WRITERS):
        goes_on(writers)
        yield writers
        goes_on(writers)
    for node in cluster.nodes:
        eventually(node.is_ready)
        stored = Counter(event["idempotency_key"] for event in node.records("events"))
        assert [key for key in writers.acknowledged if key not in stored] == []
        assert [key for key, n in stored.items() if n > 1] == []


def goes_on(writers: Writers) -> None:
    before = len(writers.acknowledged)
    eventually(lambda: len(writers.acknowledged) > before)


def not_ready(node: Node) -> bool:
    answer = node.ask("/ready")
    return answer.status_code == 503 and "Retry-After" in answer.headers


def ban(node: Node, ip: str) -> bool:
    url = f"{node.url}{PROJECT}/rules/bans"
    return requests.post(url, json={"ip": ip}, headers=ADMIN, timeout=30).ok


def banned(node: Node) -> list[str]:
    found: list[str] = node.get("/api/v1/rules").get("ip_blacklist", [])
    return found


def test_a_store_that_goes_away_and_comes_back_is_noticed_by_itself(
    new_cluster: Callable[[int], Cluster],
) -> None:
    cluster = new_cluster(2)
    one, other = cluster.nodes
    assert ban(one, "203.0.113.7")
    for store in (cluster.postgres, cluster.clickhouse):
        with pressed(cluster):
            store.stop(signal.SIGKILL)
            for node in cluster.nodes:
                eventually(lambda node=node: not_ready(node))
                assert node.ask("/health").status_code == 200
            store.start()
            for node in cluster.nodes:
                eventually(node.is_ready)
        cluster.leader()
    assert banned(other) == ["203.0.113.7"]
    assert ban(other, "203.0.113.8")
    eventually(lambda: banned(one) == ["203.0.113.7", "203.0.113.8"])


def test_nodes_that_are_killed_under_load_lose_nothing(
    new_cluster: Callable[[int], Cluster],
) -> None:
    cluster = new_cluster(3)
    with pressed(cluster) as writers:
        for node in cluster.nodes:
            node.kill()
            goes_on(writers)
            node.start()
            eventually(node.is_ready)


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_a_node_that_is_cut_off_from_a_store_gives_up_and_comes_back(
    new_cluster: Callable[[int], Cluster], store: str
) -> None:
    cluster = new_cluster(2)
    leader = cluster.leader()
    (other,) = [node for node in cluster.nodes if node is not leader]
    wire = getattr(leader, f"to_{store}")
    with pressed(cluster):
        wire.cut()
        eventually(lambda: not_ready(leader))
        if store == "postgres":
            eventually(other.leads, 30)
            assert not leader.leads()
        assert other.is_ready()
        wire.mend()
        eventually(leader.is_ready)
    assert cluster.leader()


def test_a_leader_that_was_stopped_does_not_lead_when_it_continues(
    new_cluster: Callable[[int], Cluster],
) -> None:
    cluster = new_cluster(2)
    leader = cluster.leader()
    (other,) = [node for node in cluster.nodes if node is not leader]
    assert leader.process
    assert leader.process.child
    leader.process.child.send_signal(signal.SIGSTOP)
    try:
        eventually(other.leads, 30)
    finally:
        leader.process.child.send_signal(signal.SIGCONT)
    eventually(leader.is_ready)
    assert cluster.leader() is other
