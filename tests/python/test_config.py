"""The configuration, as programs write it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.log import Log

from guard_agent import AgentConfig, SyncGuardAgentHandler, guard_agent, validate_config
from guard_agent.config import SECRETS
from guard_agent.encryption import EncryptionConfigError

Make = Callable[..., AgentConfig]
KEY = "a-key-of-10-or-more"


def test_only_the_key_is_required() -> None:
    config = AgentConfig(api_key=KEY)
    assert validate_config(config) == []
    assert config.endpoint == "https://api.fastapi-guard.com"
    assert config.sensitive_headers == ["authorization", "cookie", "x-api-key"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://guard.example:8400", "http://guard.example:8400"),
        ("https://guard.example/", "https://guard.example"),
        ("https://guard.example/api/v1/", "https://guard.example"),
        ("https://guard.example/base/api/v1", "https://guard.example/base"),
    ],
)
def test_the_endpoint_is_reduced_to_the_base_url(given: str, kept: str) -> None:
    assert AgentConfig(api_key=KEY, endpoint=given).endpoint == kept


@pytest.mark.parametrize(
    ("field", "value", "problem", "expected"),
    [
        ("buffer_size", "many", "valid integer", "a whole number above 0"),
        ("status_interval", 59, "greater than or equal to 60", "a whole number from 60 up"),
        ("endpoint", "ftp://host", "not an http or https URL", "an http or https URL with a host"),
        ("endpoint", "", "not an http or https URL", "an http or https URL with a host"),
        ("endpoint", "http://", "not an http or https URL", "an http or https URL with a host"),
        ("buffer_overflow_policy", "keep", "'drop', 'block' or 'raise'", "What a full queue does"),
        ("on_error", 7, "callable", "a function"),
        ("max_batch_bytes", 10, "greater than or equal to 4096", "a whole number from 4,096 up"),
        ("spool_dir", "", "an empty path", "None saves nothing"),
        ("spool_dir", "a\0b", "a path with a NUL in it", "a path"),
        ("spool_dir", "~nobody-of-this-name/x", "home directory is not known", "a path"),
        ("rules_cache_path", "", "an empty path", "the path of a file"),
        ("rules_cache_path", "a\0b", "a path with a NUL in it", "the path of a file"),
    ],
)
def test_an_invalid_value_is_reported_with_its_field_and_a_remedy(
    field: str, value: Any, problem: str, expected: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AgentConfig(**{"api_key": KEY, field: value})
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    for part in (problem, repr(value), expected):
        assert part in error["msg"]


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-the-test")
    monkeypatch.setenv("GUARD_AGENT_SPOOL_DIR", "~/from-the-environment")
    assert AgentConfig(api_key=KEY).spool_dir == "/home/of-the-test/from-the-environment"
    for given in ("~/rules", Path("~/rules")):
        config = AgentConfig(api_key=KEY, spool_dir="~/spool", rules_cache_path=given)
        assert config.spool_dir == "/home/of-the-test/spool"
        assert config.rules_cache_path == Path("/home/of-the-test/rules")


def test_a_relative_path_is_resolved_when_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARD_AGENT_SPOOL_DIR", "from-the-environment")
    config = AgentConfig(api_key=KEY, spool_dir="here/~", rules_cache_path=Path("rules"))
    by_environment = AgentConfig(api_key=KEY)
    monkeypatch.chdir("/")
    assert config.spool_dir == str(tmp_path / "here/~")
    assert config.rules_cache_path == tmp_path / "rules"
    assert by_environment.spool_dir == str(tmp_path / "from-the-environment")


def test_a_relative_path_is_rejected_without_a_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValidationError, match="a working directory that is gone"):
        AgentConfig(api_key=KEY, spool_dir="spool")
    assert AgentConfig(api_key=KEY, spool_dir="/spool").spool_dir == "/spool"


@pytest.mark.parametrize("field", sorted(SECRETS))
def test_secrets_are_not_shown(field: str) -> None:
    secret = "s3cret-and-long-enough"
    value: Any = f"redis://:{secret}@cache" if field == "redis_url" else secret
    config = AgentConfig(**{"api_key": KEY, field: value})
    assert secret not in repr(config) + str(config)
    assert getattr(config, field) == value
    for fields in ({field: [value]}, {field: value, "timeout": "soon"}):
        with pytest.raises(ValidationError) as caught:
            AgentConfig(**{"api_key": KEY, **fields})
        assert secret not in str(caught.value)


@pytest.mark.parametrize("rest", ["host", "host:99999", "", "[host", "h\u2100st"])
def test_a_password_in_the_endpoint_is_rejected_without_being_shown(rest: str) -> None:
    with pytest.raises(ValidationError, match="leave user and password out of it") as caught:
        AgentConfig(api_key=KEY, endpoint=f"http://user:s3cret@{rest}")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caught.value.json(include_input=False)


def test_an_invalid_encryption_key_is_rejected_without_being_shown(
    make_config: Make,
) -> None:
    with pytest.raises(EncryptionConfigError, match="project_encryption_key") as caught:
        guard_agent(make_config(project_encryption_key="s3cret"))
    assert "s3cret" not in str(caught.value)


def test_an_empty_secret_sends_nothing_unencrypted_or_unsigned(make_config: Make) -> None:
    with pytest.raises(EncryptionConfigError, match="project_encryption_key"):
        guard_agent(make_config(project_encryption_key=""))
    with pytest.raises(ValueError, match="payload_signing_secret: empty; give the secret"):
        guard_agent(make_config(payload_signing_secret=""))


def test_an_unknown_field_is_ignored_and_logged_with_a_suggestion(log: Log) -> None:
    fields: dict[str, Any] = {"api_key": KEY, "flush_intervall": 5, "zzz": 1}
    AgentConfig(**fields)
    said = {record.getMessage(): record.levelno for record in log.records}
    assert said == {
        "AgentConfig has no field flush_intervall and ignores it; "
        "did you mean flush_interval?": logging.WARNING,
        "AgentConfig has no field zzz and ignores it; remove it": logging.WARNING,
    }


def test_the_environment_is_read_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "API_KEY": KEY,
        "BUFFER_SIZE": "7",
        "ENABLE_METRICS": "false",
        "SENSITIVE_HEADERS": "authorization,x-token",
        "PROJECT_ID": "",
    }.items():
        monkeypatch.setenv(f"GUARD_AGENT_{name}", text)
    config = AgentConfig.from_env(timeout=5)
    assert (config.api_key, config.buffer_size, config.timeout) == (KEY, 7, 5)
    assert config.enable_metrics is False
    assert config.sensitive_headers == ["authorization", "x-token"]
    assert config.project_id is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("anonymize_ip", "hash"),
        ("name", "shop"),
        ("redis_url", "redis://cache"),
        ("spool_dir", "/var/spool/guard"),
    ],
)
def test_fields_that_a_guard_cannot_set_come_from_the_environment(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = getattr(AgentConfig(api_key=KEY), field)
    monkeypatch.setenv(f"GUARD_AGENT_{field.upper()}", f" {value} ")
    assert getattr(AgentConfig(api_key=KEY), field) == value
    given: Any = {"api_key": KEY, field: default}
    assert getattr(AgentConfig(**given), field) == default


def test_an_invalid_anonymize_ip_in_the_environment_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GUARD_AGENT_ANONYMIZE_IP", "hashed")
    with pytest.raises(ValidationError, match=r"got 'hashed'.*GUARD_AGENT_ANONYMIZE_IP"):
        AgentConfig(api_key=KEY)


def test_an_environment_without_a_key_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_AGENT_API_KEY", raising=False)
    with pytest.raises(ValidationError, match="api_key"):
        AgentConfig.from_env()


def test_validate_config_lists_all_errors() -> None:
    config = AgentConfig(api_key="x", buffer_size=0, retry_attempts=-2)
    assert validate_config(config) == [
        "api_key must be at least 10 characters long",
        "buffer_size must be greater than 0, not 0",
        "retry_attempts cannot be negative, such as -2",
    ]


def test_extreme_durations_are_accepted(make_config: Make) -> None:
    agent = SyncGuardAgentHandler(
        make_config(flush_interval=10**15, status_interval=10**15, timeout=10**15)
    )
    agent.start()
    assert agent.get_stats()["running"] is True
