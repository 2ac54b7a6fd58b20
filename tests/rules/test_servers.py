"""Rules reach every process, in every server, and survive a restart of guard-server."""

import sys
from collections.abc import Callable
from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet
from support.example_app import APP_FOLDER, ExampleApp
from support.guard_server import PROJECT, GuardServer
from support.process import eventually
from support.relay import Relay
from support.rules import Rules

Start = Callable[..., ExampleApp]

BANNED, OTHER = "203.0.113.7", "203.0.113.8"
SECRET = "the-secret-of-both-sides"
WORKERS = 4


def is_answered(app: ExampleApp, status: int, client: str) -> bool:
    return eventually(lambda: app.request("/items", client) == status)


def test_a_country_is_blocked(server: GuardServer, start_app: Start, tmp_path: Path) -> None:
    countries = tmp_path / "countries.mmdb"
    database = MMDBWriter(ip_version=4, database_type="countries")
    database.insert_network(IPSet(["198.18.0.0/24"]), {"country": "FR"})
    database.insert_network(IPSet(["198.18.1.0/24"]), {"country": "NZ"})
    database.to_db_file(countries)
    command: list[str | Path] = [
        *(sys.executable, "-m", "uvicorn", "geo_app:app", "--app-dir", Path(__file__).parent),
        *("--port", "0", "--no-proxy-headers"),
    ]
    serve = (command, "Uvicorn running on")
    app = start_app(server.url, serve, PYTHONPATH=str(APP_FOLDER), COUNTRIES=str(countries))
    rules = Rules(server)
    assert app.request("/items", "198.18.0.1") == 200
    rules.add("countries", country="FR")
    assert is_answered(app, 403, "198.18.0.1")
    assert app.request("/items", "198.18.1.1") == 200
    assert app.request("/items", "198.18.2.1") == 200
    rules.remove("countries", country="FR")
    assert is_answered(app, 200, "198.18.0.1")


def test_four_workers_of_gunicorn_apply_a_ban_and_its_end(
    server: GuardServer, start_app: Start
) -> None:
    command: list[str | Path] = [
        # Preloaded, because guard-core's check of the app's patterns has a time limit. Four workers
        # that check at once on two cores would exceed it.
        *(sys.executable, "-m", "gunicorn", "main:app", "--chdir", APP_FOLDER, "--preload"),
        *("--bind", "127.0.0.1:0", "--workers", "4", "--no-control-socket"),
        *("--worker-class", "uvicorn.workers.UvicornWorker"),
    ]
    rules = Rules(server)
    app = start_app(server.url, (command, "Listening at:"))

    def is_applied_by_all(version: int) -> bool:
        """Each worker logs this once."""
        applied = [
            event["metadata"]["version"]
            for event in server.records("events")
            if event["event_type"] == "dynamic_rule_applied"
        ]
        return applied.count(version) == 4

    def answers(client: str, requests: int) -> set[int]:
        """Each request uses a new connection, which any worker may accept."""
        statuses = set()
        for _ in range(requests):
            app.session.close()
            statuses.add(app.request("/items", client))
        return statuses

    first = rules.publish()
    assert eventually(lambda: is_applied_by_all(first))
    banned = rules.add("bans", ip=BANNED)
    assert eventually(lambda: is_applied_by_all(banned))
    assert eventually(lambda: server.adoption()["counts"]["applied"] == WORKERS)
    assert answers(BANNED, requests=20) == {403}
    assert answers(OTHER, requests=1) == {200}
    lifted = rules.remove("bans", ip=BANNED)
    assert eventually(lambda: is_applied_by_all(lifted))
    assert answers(BANNED, requests=6) == {200}


def test_a_restart_of_the_server_loses_no_version(server: GuardServer, start_app: Start) -> None:
    app, rules = start_app(server.url), Rules(server)
    first = rules.add("bans", ip=BANNED)
    assert is_answered(app, 403, BANNED)
    before = rules.document()
    server.kill()
    assert app.request("/items", BANNED) == 403
    server.start()
    after = rules.document()
    # It is counted again for each answer.
    del before["ip_ban_duration"], after["ip_ban_duration"]
    assert after == before
    assert rules.add("bans", ip=OTHER) == first + 1
    assert is_answered(app, 403, OTHER)
    assert app.request("/items", BANNED) == 403
    assert rules.roll_back(first) == first + 2
    assert is_answered(app, 200, OTHER)
    assert app.request("/items", BANNED) == 403
    versions = server.get(f"{PROJECT}/rules/versions")["versions"]
    assert [version["version"] for version in versions] == [first + 2, first + 1, first]


def test_rules_modified_in_transit_are_rejected_and_logged(
    new_server: Callable[..., GuardServer],
    start_app: Start,
    start_relay: Callable[[GuardServer], Relay],
) -> None:
    server = new_server("--signing-secret", SECRET).start()
    relay, rules = start_relay(server), Rules(server)
    app = start_app(relay.url, GUARD_AGENT_PAYLOAD_SIGNING_SECRET=SECRET)
    rules.add("bans", ip=BANNED)
    assert is_answered(app, 403, BANNED)

    relay.rewrite = lambda body: body.replace(OTHER.encode(), b"203.0.113.9")
    rules.add("bans", ip=OTHER)
    assert eventually(lambda: "rules refused: their signature is wrong" in app.process.output())
    assert eventually(lambda: server.adoption()["counts"]["refused"] == 1)
    assert "their signature is wrong" in server.adoption()["agents"][0]["refused"]
    assert app.request("/items", "203.0.113.9") == 200

    relay.rewrite = lambda body: body
    assert eventually(lambda: app.request("/items", OTHER) == 403)
