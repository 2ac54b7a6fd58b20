"""The public surface: names, signatures, defaults and types that programs rely on.

`surface.txt` lists the signatures of the public agents. Ours may accept additional parameters at
the end, and never fewer.
"""

import importlib
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.backend import Backend
from support.process import PATIENCE_SECONDS

import guard_agent
from guard_agent import AgentConfig, AgentStatus, EventBatch, SecurityEvent, SecurityMetric
from guard_agent.config import OnError

HERE = Path(__file__).parent
SURFACE = (HERE / "surface.txt").read_text().splitlines()
PROGRAM = HERE / "every_public_name.py"
ROOT_NAMES = [
    *("guard_agent", "GuardAgentHandler", "SyncGuardAgentHandler", "AgentConfig", "SecurityEvent"),
    *("SecurityMetric", "DynamicRules", "AgentStatus", "EventBatch", "EventBuffer"),
    *("HTTPTransport", "AgentHandlerProtocol", "TransportProtocol", "BufferProtocol"),
    *("RedisHandlerProtocol", "BufferFullError", "GuardAgentError", "generate_batch_id"),
    *("get_current_timestamp", "hash_ip", "sanitize_headers", "truncate_payload"),
    *("validate_config", "setup_agent_logging", "RateLimiter", "CircuitBreaker", "__version__"),
]
MODULE_NAMES = {
    "buffer": ["EventBuffer"],
    "client": ["GuardAgentHandler", "SyncGuardAgentHandler", "guard_agent"],
    "encryption": [
        *("EncryptionConfigError", "EncryptionError", "PayloadEncryptor", "create_encryptor"),
    ],
    "exceptions": [
        *("BufferFullError", "GuardAgentError", "PayloadTooLargeError", "PermanentClientError"),
    ],
    "install_id": ["resolve_install_id"],
    "logging_utils": ["setup_agent_logging"],
    "models": [
        *("AgentConfig", "AgentStatus", "DynamicRules", "EventBatch", "KNOWN_EVENT_TYPES"),
        *("SecurityEvent", "SecurityMetric"),
    ],
    "signing": ["sign_payload"],
    "transport": ["HTTPTransport"],
    "utils": [
        *("CircuitBreaker", "RateLimitedError", "RateLimiter", "SerializationError"),
        *("calculate_backoff_delay", "generate_batch_id", "get_current_timestamp", "hash_ip"),
        *("parse_retry_after_seconds", "safe_json_deserialize", "safe_json_serialize"),
        *("sanitize_headers", "setup_agent_logging", "summarize_response_body"),
        *("truncate_payload", "validate_config"),
    ],
}
CONFIG_DEFAULTS = {
    "endpoint": "https://api.fastapi-guard.com",
    "project_id": None,
    "buffer_size": 100,
    "flush_interval": 30,
    "dynamic_rule_interval": 300,
    "status_interval": 300,
    "high_watermark_ratio": 0.8,
    "max_concurrent_flushes": 1,
    "buffer_overflow_policy": "drop",
    "enable_metrics": True,
    "enable_events": True,
    "retry_attempts": 3,
    "timeout": 30,
    "backoff_factor": 1.0,
    "sensitive_headers": ["authorization", "cookie", "x-api-key"],
    "max_payload_size": 1024,
    "project_encryption_key": None,
    "guard_version": None,
    "guard_core_version": None,
    "compression_enabled": True,
    "compression_threshold": 1024,
    "install_id": None,
    "payload_signing_secret": None,
    "on_error": None,
}
FIELDS = {
    SecurityEvent: [
        *("idempotency_key", "timestamp", "event_type", "ip_address", "country", "user_agent"),
        *("action_taken", "reason", "endpoint", "method", "status_code", "response_time"),
        *("decorator_type", "rule_type", "pattern_matched", "handler_name", "metadata"),
    ],
    SecurityMetric: ["timestamp", "metric_type", "value", "endpoint", "tags"],
    EventBatch: [
        *("project_id", "events", "metrics", "batch_id", "created_at", "compressed"),
        *("agent_version", "guard_version", "guard_core_version"),
    ],
    AgentStatus: [
        *("timestamp", "status", "uptime", "events_sent", "events_failed", "buffer_size"),
        *("last_flush", "errors"),
    ],
}


def named(path: str) -> Any:
    """The object that `guard_agent.module.Class.method` names."""
    package, module, *names = path.split(".")
    found: Any = importlib.import_module(f"{package}.{module}")
    for name in names:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("line", SURFACE)
def test_every_callable_accepts_the_public_agents_arguments(line: str) -> None:
    match = re.fullmatch(r"([\w.]+)\((.*)\)", line)
    assert match is not None
    path, wanted = match.group(1), match.group(2)
    signature = inspect.signature(named(path))
    ours = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    text = str(inspect.Signature(ours))[1:-1]
    assert text == wanted or text.startswith(f"{wanted}, " if wanted else "")
    more = ours[len(wanted.split(", ")) if wanted else 0 :]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    empty = inspect.Parameter.empty
    assert all(extra.default is not empty or extra.kind in optional for extra in more)


def test_the_package_exports_every_name() -> None:
    for name in ROOT_NAMES:
        assert hasattr(guard_agent, name), name
    assert set(guard_agent.__all__) == set(ROOT_NAMES)


@pytest.mark.parametrize("module", MODULE_NAMES)
def test_every_module_has_its_names(module: str) -> None:
    for name in MODULE_NAMES[module]:
        assert named(f"guard_agent.{module}.{name}") is not None


def test_the_configuration_has_every_field_with_its_default() -> None:
    config = AgentConfig(api_key="an-api-key-for-tests")
    assert {name: getattr(config, name) for name in CONFIG_DEFAULTS} == CONFIG_DEFAULTS
    assert OnError is not None


@pytest.mark.parametrize("model", FIELDS, ids=lambda model: model.__name__)
def test_every_model_has_its_fields_in_their_order(model: Any) -> None:
    assert [*model.model_fields][: len(FIELDS[model])] == FIELDS[model]


def test_a_program_that_uses_every_public_name_is_typed_and_runs(
    backend: Backend, tmp_path: Path
) -> None:
    program = PROGRAM.read_text()
    for name in {*ROOT_NAMES, *itertools.chain(*MODULE_NAMES.values())}:
        uses = re.findall(rf"\b{name}\b", program.partition('"""\n')[2])
        assert len(uses) > 1 or name == "__version__", f"{name} is not used"
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ran = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, backend.url, tmp_path / "install-id"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {event["event_type"] for event in backend.events} == {"sync", "async", "direct"}
