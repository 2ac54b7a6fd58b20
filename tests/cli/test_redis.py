"""Doctor's checks of the Redis that `redis_url` names."""

from collections.abc import Callable

import pytest
import redis
from support.guard_server import GuardServer
from support.redis_server import RedisServer

from cli.output import Output

Command = Callable[..., Output]
Doctor = Callable[..., Output]
Start = Callable[..., RedisServer]

PASSWORD = "open-sesame-7"


@pytest.fixture
def doctor(guard_agent: Command, server: GuardServer) -> Doctor:
    """Runs doctor with a `redis_url`."""

    def run(url: str, **settings: str) -> Output:
        output = guard_agent(
            "doctor", "--endpoint", server.url, GUARD_AGENT_REDIS_URL=url, **settings
        )
        assert PASSWORD not in output.text + output.errors
        return output

    return run


def test_a_healthy_redis_has_three_lines(start_redis: Start, doctor: Doctor) -> None:
    server = start_redis()
    output = doctor(server.url)
    assert output.code == 0
    place = f"127.0.0.1:{server.port}/0"
    assert output.says("ok", "redis") == f"{place}, 0 record(s), 0 of 268,435,456 bytes"
    assert int(output.says("ok", "redis version").partition(".")[0]) >= 5
    assert output.says("ok", "eviction") == "noeviction"
    assert output.says("ok", "spool") == "none: records are kept in Redis"


def test_without_a_redis_there_is_no_line(guard_agent: Command, server: GuardServer) -> None:
    assert "redis" not in guard_agent("doctor", "--endpoint", server.url).text


def test_an_unreachable_redis_is_reported(start_redis: Start, doctor: Doctor) -> None:
    server = start_redis()
    server.stop()
    output = doctor(server.url)
    assert output.code == 1
    found = output.says("fail", "redis")
    assert found.startswith(f"the Redis at 127.0.0.1:{server.port}/0 cannot be reached (")
    assert found.endswith(" - see whether it runs")
    # Doctor continues, because the agent works without Redis, in memory.
    assert output.says("ok", "key") == "the backend takes it"


@pytest.mark.parametrize("given", [f"wrong-{PASSWORD}", ""], ids=["wrong", "missing"])
def test_a_rejected_password_is_reported(start_redis: Start, doctor: Doctor, given: str) -> None:
    server = start_redis("--requirepass", PASSWORD)
    output = doctor(server.url.replace("//", f"//:{given}@" if given else "//"))
    assert output.code == 1
    expected = "refuses the user or the password - correct redis_url"
    assert output.says("fail", "redis").endswith(expected)


def test_an_accepted_password_is_not_shown(start_redis: Start, doctor: Doctor) -> None:
    server = start_redis("--requirepass", PASSWORD)
    assert doctor(server.url.replace("//", f"//:{PASSWORD}@")).code == 0


def test_a_redis_that_evicts_records_is_a_warning(start_redis: Start, doctor: Doctor) -> None:
    server = start_redis("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    output = doctor(server.url)
    assert output.code == 0
    found = output.says("warn", "eviction")
    assert "(maxmemory-policy is allkeys-lru) - set maxmemory-policy noeviction" in found


def test_waiting_and_dead_letter_records_are_reported(start_redis: Start, doctor: Doctor) -> None:
    server = start_redis()
    with redis.Redis.from_url(server.url) as client:
        client.xadd("guard_agent:{shop}:records", {"event": "{}"})
        client.set("guard_agent:{shop}:size", 1_000_000)
        assert doctor(server.url).says("ok", "redis").endswith("0 of 268,435,456 bytes")
        shop = {"GUARD_AGENT_PROJECT_ID": "shop", "GUARD_AGENT_REDIS_MAX_BYTES": "1048576"}
        found = doctor(server.url, **shop).says("warn", "redis")
        assert "1 record(s), 1,000,000 of 1,048,576 bytes - see why" in found
        client.xadd("guard_agent:{shop}:quarantine", {"event": "{}", "reason": "400"})
        found = doctor(server.url, **shop).says("warn", "redis")
        assert "1 set aside - see the stream guard_agent:{shop}:quarantine, and " in found


def test_dead_letter_records_are_requeued(start_redis: Start, guard_agent: Command) -> None:
    server = start_redis()
    requeue = ("spool", "requeue-quarantined")
    with server.client() as client:
        client.xadd("guard_agent:{default}:quarantine", {"event": '{"n":1}', "reason": "rejected"})
        output = guard_agent(*requeue, GUARD_AGENT_REDIS_URL=server.url)
        assert output.says("ok", "redis").startswith("1 record(s) are delivered by a process")
        assert client.xlen("guard_agent:{default}:quarantine") == 0
        records = client.xrange("guard_agent:{default}:records")
    assert [fields for _, fields in records] == [{"event": '{"n":1}'}]
    server.stop()
    output = guard_agent(*requeue, GUARD_AGENT_REDIS_URL=server.url)
    assert (output.code, "cannot be reached" in output.says("fail", "redis")) == (1, True)


def test_an_invalid_url_is_reported_without_its_password(doctor: Doctor) -> None:
    output = doctor(f"redis://:{PASSWORD}@")
    assert output.code == 1
    assert output.says("fail", "configuration").startswith("redis_url: ")
