"""The helpers, compared with the public agents' results for the same input."""

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.log import Log

import guard_agent
from guard_agent import utils
from guard_agent.encryption import (
    EncryptionConfigError,
    EncryptionError,
    PayloadEncryptor,
    create_encryptor,
)
from guard_agent.exceptions import GuardAgentError, PayloadTooLargeError, PermanentClientError
from guard_agent.install_id import resolve_install_id
from guard_agent.logging_utils import setup_agent_logging
from guard_agent.signing import sign_payload

VECTORS_PATH = ROOT / "crates/guard-wire/tests/vectors.json"
VECTORS: dict[str, Any] = json.loads(VECTORS_PATH.read_text(encoding="utf-8"))
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize("case", VECTORS["redaction"]["cases"], ids=lambda case: case["name"])
def test_redaction_agrees_with_the_public_agent(case: dict[str, Any]) -> None:
    sensitive = VECTORS["redaction"]["sensitive_headers"]
    assert utils.sanitize_headers(case["input"], sensitive) == case["expected"]


@pytest.mark.parametrize("case", VECTORS["truncate"], ids=lambda case: str(case["max_size"]))
def test_truncation_agrees_with_the_public_agent(case: dict[str, Any]) -> None:
    assert utils.truncate_payload(case["payload"], case["max_size"]) == case["expected"]


@pytest.mark.parametrize("case", VECTORS["hash_ip"], ids=lambda case: case["ip"] or "empty")
def test_hashing_agrees_with_the_public_agent(case: dict[str, Any]) -> None:
    assert utils.hash_ip(case["ip"], case["salt"]) == case["expected"]


@pytest.mark.parametrize("case", VECTORS["backoff"], ids=lambda case: str(case["expected"]))
def test_backoff_agrees_with_the_public_agent(case: dict[str, Any]) -> None:
    delay = utils.calculate_backoff_delay(case["attempt"], case["base_delay"], case["max_delay"])
    assert delay == case["expected"]


@pytest.mark.parametrize("case", VECTORS["retry_after"], ids=lambda case: repr(case["header"]))
def test_retry_after_agrees_with_the_public_agent(case: dict[str, Any]) -> None:
    assert utils.parse_retry_after_seconds(case["header"]) == case["expected"]


def test_retry_after_is_also_read_as_a_date() -> None:
    long_ago = utils.parse_retry_after_seconds("Thu, 01 Jan 1970 00:00:07 GMT")
    assert long_ago == 0.0


@pytest.mark.parametrize("case", VECTORS["signature"], ids=lambda case: case["body"])
def test_signatures_agree_with_the_public_agent(case: dict[str, Any]) -> None:
    assert sign_payload(case["body"].encode(), secret=case["secret"]) == case["expected"]


def test_without_a_secret_there_is_no_signature() -> None:
    assert sign_payload(b"{}", secret=None) is None


@pytest.mark.parametrize("case", VECTORS["encryption"], ids=lambda case: case["nonce_hex"][:2])
def test_payloads_of_the_public_agent_can_be_decrypted(case: dict[str, Any]) -> None:
    assert PayloadEncryptor(case["key"]).decrypt(case["ciphertext"]) == case["plaintext"]


def test_encryption_round_trips_and_never_repeats_a_ciphertext() -> None:
    encryptor = PayloadEncryptor(KEY)
    data = {"events": [{"reason": "café"}]}
    sealed = encryptor.encrypt(data)
    assert encryptor.decrypt(sealed) == data
    assert encryptor.encrypt(data) != sealed
    assert encryptor.verify_key() is True


def test_associated_data_has_to_be_the_same() -> None:
    encryptor = PayloadEncryptor(KEY)
    sealed = encryptor.encrypt({}, associated_data="shop")
    assert encryptor.decrypt(sealed, associated_data="shop") == {}
    for other in (None, "garage"):
        with pytest.raises(EncryptionError, match="could not be decrypted"):
            encryptor.decrypt(sealed, associated_data=other)


@pytest.mark.parametrize("sealed", ["", "not base64!", "AAAA"])
def test_plaintext_is_not_decrypted(sealed: str) -> None:
    with pytest.raises(EncryptionError, match="Invalid or tampered payload"):
        PayloadEncryptor(KEY).decrypt(sealed)


@pytest.mark.parametrize("key", ["s3cret", "czNjcmV0", "*"])
def test_an_invalid_key_is_rejected_without_being_shown(key: str) -> None:
    with pytest.raises(EncryptionConfigError, match="give 32 bytes as URL-safe base64") as caught:
        create_encryptor(key)
    assert key not in str(caught.value)


def test_without_a_key_there_is_no_encryptor_and_an_empty_key_is_invalid() -> None:
    assert create_encryptor(None) is None
    with pytest.raises(EncryptionConfigError, match="give 32 bytes as URL-safe base64"):
        create_encryptor("")


def test_batch_ids_are_a_time_and_a_random_part() -> None:
    millis, random = utils.generate_batch_id().split("-")
    at = datetime.fromtimestamp(int(millis) / 1000, timezone.utc)
    assert abs(utils.get_current_timestamp() - at) < timedelta(minutes=1)
    assert len(random) == 8
    int(random, 16)


def test_redaction_takes_any_object() -> None:
    headers = {"Cookie": b"s", "n": {1}, "when": datetime(2026, 1, 2)}
    assert utils.sanitize_headers(headers, ["cookie"]) == {
        "Cookie": "[REDACTED]",
        "n": [1],
        "when": "2026-01-02T00:00:00",
    }


def test_response_bodies_are_summarised_on_one_line() -> None:
    assert utils.summarize_response_body("a\n\n  b") == "a b"
    assert utils.summarize_response_body("x" * 400) == "x" * 300 + "... (400 characters)"
    assert utils.summarize_response_body("abcdef", max_length=2) == "ab... (6 characters)"


def test_any_object_is_serialized_as_json() -> None:
    written = asyncio.run(utils.safe_json_serialize({"at": datetime(2026, 1, 2), 1: "é"}))
    assert written == '{"at":"2026-01-02 00:00:00","1":"é"}'
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    with pytest.raises(utils.SerializationError, match="not serialisable as JSON"):
        asyncio.run(utils.safe_json_serialize(cycle))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", None),
        ("null", None),
        ("nonsense", None),
        ("[" * 10**5, None),
    ],
    ids=["object", "list", "null", "nonsense", "deep"],
)
def test_json_is_read_if_it_is_an_object(text: str, read: Any) -> None:
    assert asyncio.run(utils.safe_json_deserialize(text)) == read


def test_errors_have_the_attributes_that_programs_use() -> None:
    refused = PermanentClientError(403, "no such project")
    assert (refused.status_code, refused.detail) == (403, "no such project")
    assert str(refused) == "the backend refused the request with HTTP 403: no such project"
    too_large = PayloadTooLargeError()
    assert isinstance(too_large, PermanentClientError)
    assert isinstance(too_large, GuardAgentError)
    assert too_large.status_code == 413
    assert utils.RateLimitedError(3.0).retry_after_seconds == 3.0


def test_the_installation_keeps_its_identifier(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "install-id"
    first = resolve_install_id(state_path=path)
    assert resolve_install_id(state_path=path) == first
    assert resolve_install_id(state_path=path, override="host-7") == "host-7"


def test_an_unwritable_path_is_logged_but_not_fatal(tmp_path: Path, log: Log) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "install-id"
    assert resolve_install_id(state_path=path) != resolve_install_id(state_path=path)
    log.wait_for("set install_id to give one")


def test_a_level_name_is_accepted_as_log_level_or_first_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        assert setup_agent_logging(log_level="DEBUG").level == logging.DEBUG
        assert setup_agent_logging("WARNING").level == logging.WARNING
        assert setup_agent_logging().level == logging.INFO
        with pytest.raises(ValueError, match="log_level: 'LOUD' is unknown; give one of DEBUG"):
            setup_agent_logging(log_level="LOUD")
    finally:
        logger = logging.getLogger("guard_agent")
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "setup",
    [guard_agent.setup_agent_logging, utils.setup_agent_logging, setup_agent_logging],
    ids=["guard_agent", "utils", "logging_utils"],
)
def test_logging_setup_can_be_awaited(setup: Callable[..., Any]) -> None:
    class Own(logging.Logger):
        pass

    logger = logging.getLogger("guard_agent")
    own = type(logger)

    async def main() -> None:
        assert await setup(log_level="DEBUG") is logger
        assert await setup("WARNING") is logger

    try:
        asyncio.run(main())
        assert setup(log_level="DEBUG") is logger
        assert logger.level == logging.DEBUG
        logger.__class__ = Own
        asyncio.run(main())
        assert isinstance(logger, Own)
        assert pickle.loads(pickle.dumps(logger)) is logger
    finally:
        logger.__class__ = own
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logging_goes_to_console_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log_format: Any
) -> None:
    path = tmp_path / "logs" / "agent.log"
    logger = setup_agent_logging(str(path), log_format)
    try:
        logging.getLogger("guard_agent.transport").info("hello %s", "world")
        line = path.read_text(encoding="utf-8")
        assert line == capsys.readouterr().err
        if log_format == "json":
            assert json.loads(line).items() >= {"level": "INFO", "message": "hello world"}.items()
        else:
            assert line.endswith("INFO - hello world\n")
        assert len(setup_agent_logging(reconfigure=False).handlers) == 2
    finally:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_an_unknown_log_format_is_rejected() -> None:
    wrong: Any = "xml"
    with pytest.raises(ValueError, match="log_format: 'xml' is unknown"):
        setup_agent_logging(log_format=wrong)
