"""Channels deliver to real receivers, and the test of a channel says exactly what happened."""

import json
import re
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from email.policy import default
from pathlib import Path

import pytest
from support import ROOT
from support.certificates import Authority
from support.guard_server import GuardServer

from alerts.conftest import Api, Receiver

DOCUMENT = (ROOT / "docs" / "alert-channels.md").read_text()
KEY = "0123456789abcdef-hush"
FROM = ("--mail-host", "localhost", "--mail-from", "Guard <guard@example.com>")
# A name that has a private address on every machine.
LOCAL = "localhost"

NewServer = Callable[..., GuardServer]
Receive = Callable[..., Receiver]
ApiOf = Callable[[GuardServer], Api]


def verifier() -> Callable[..., dict[str, object]]:
    """The function of the documentation."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, Callable[..., dict[str, object]]] = {}
    exec(compile(program, "alert-channels.md", "exec", dont_inherit=True), names)
    return names["verify"]


def test_a_webhook_is_verified_by_the_program_of_the_documentation(
    new_server: NewServer, receive: Receive, api_of: ApiOf
) -> None:
    hooks = receive("hooks")
    api = api_of(new_server("--allow-private-webhooks").start())
    answer = api.test(type="webhook", url=f"{hooks.url}/200/hush-hush", secret=KEY)
    assert answer["delivered"]
    assert answer["status"] == 200
    assert answer["text"] == r"200 \u{1b}[2J[secret] is 200"
    assert answer["took_ms"] >= 0
    (taken,) = hooks.taken()
    verify, body = verifier(), taken["body"].encode()
    headers = {name.title(): value for name, value in taken["headers"].items()}
    notification = verify(headers, body, KEY)
    assert notification["test"] is True
    assert notification["id"] == headers["X-Guard-Id"]
    with pytest.raises(ValueError, match="signature"):
        verify(headers, body + b" ", KEY)
    with pytest.raises(ValueError, match="signature"):
        verify({**headers, "X-Guard-Timestamp": "1"}, body, KEY)
    with pytest.raises(ValueError, match="signature"):
        verify(headers, body, KEY + "x")


@pytest.mark.parametrize(
    ("kind", "path"), [("slack", "/200/s"), ("discord", "/204/d"), ("teams", "/202/t")]
)
def test_chats_get_json(
    new_server: NewServer, receive: Receive, api_of: ApiOf, kind: str, path: str
) -> None:
    hooks = receive("hooks")
    api = api_of(new_server("--allow-private-webhooks").start())
    assert api.test(type=kind, url=hooks.url + path)["delivered"]
    (taken,) = hooks.taken()
    assert taken["path"] == path
    assert json.loads(taken["body"])


def test_a_topic_of_ntfy_is_published_at_the_root_with_the_token(
    new_server: NewServer, receive: Receive, api_of: ApiOf
) -> None:
    hooks = receive("hooks")
    api = api_of(new_server("--allow-private-webhooks").start())
    assert api.test(type="ntfy", url=f"{hooks.url}/my-topic", secret="tk_hush")["delivered"]
    (taken,) = hooks.taken()
    assert taken["path"] == "/"
    assert json.loads(taken["body"])["topic"] == "my-topic"
    assert {**taken["headers"]}["authorization"] == "Bearer tk_hush"


def test_the_test_says_why_a_receiver_did_not_take_it(
    new_server: NewServer, receive: Receive, api_of: ApiOf
) -> None:
    hooks = receive("hooks")
    server = new_server("--allow-private-webhooks").start()
    api = api_of(server)
    for path, expected in [
        ("/404/hush-hush", r"404 \u{1b}[2J[secret] is 404"),
        ("/503/hush-hush", r"503 \u{1b}[2J[secret] is 503"),
        ("/302/hush-hush", r"302 a redirect, which is not followed"),
    ]:
        answer = api.test(type="webhook", url=hooks.url + path)
        assert not answer["delivered"]
        assert answer["status"] == int(path[1:4])
        assert expected in answer["text"], answer
    # The redirect was not followed.
    assert [taken["path"] for taken in hooks.taken()] == [
        "/404/hush-hush",
        "/503/hush-hush",
        "/302/hush-hush",
    ]
    for url, expected in [
        ("http://nowhere.invalid/hush-hush", "the name nowhere.invalid was not found"),
        ("http://127.0.0.1:1/hush-hush", "no connection to 127.0.0.1:1: Connection refused"),
        (hooks.url.replace("http", "https") + "/hush-hush", "no TLS connection"),
    ]:
        answer = api.test(type="webhook", url=url)
        assert answer["status"] is None
        assert expected in answer["text"], answer
    assert "hush" not in everything_shown(server, api)


def everything_shown(server: GuardServer, api: Api) -> str:
    """What a reader of the API and of the log sees."""
    assert server.process
    shown = [api.call("GET", path).text for path in ("channels", "audit?limit=1000")]
    assert all(text.startswith("{") for text in shown)
    return "".join([*shown, server.process.output()])


def test_private_addresses_are_not_reached_unless_they_are_allowed(
    server: GuardServer, receive: Receive, api_of: ApiOf
) -> None:
    hooks, api = receive("hooks"), api_of(server)
    for host in ("127.0.0.1", LOCAL, "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"):
        answer = api.test(type="slack", url=f"http://{host}:{hooks.port}/200/hush-hush")
        assert not answer["delivered"]
        assert "is not reached, because it is this machine" in answer["text"], answer
        assert "--allow-private-webhooks" in answer["text"]
    answer = api.test(type="slack", url="http://169.254.169.254/latest/meta-data/")
    assert "link-local" in answer["text"]
    assert hooks.taken() == []
    assert "hush" not in everything_shown(server, api)


def test_https_needs_a_certificate_that_is_trusted(
    new_server: NewServer,
    receive: Receive,
    api_of: ApiOf,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = receive("hooks", authority.issue(LOCAL))
    url = f"https://{LOCAL}:{hooks.port}/200/a"
    server = new_server("--allow-private-webhooks").start()
    answer = api_of(server).test(type="webhook", url=url)
    assert "no TLS connection: invalid peer certificate" in answer["text"], answer
    server.stop()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert api_of(server.start()).test(type="webhook", url=url)["delivered"]
    (taken,) = hooks.taken()
    assert taken["path"] == "/200/a"


def test_proxies_of_the_environment_are_not_used(
    new_server: NewServer, receive: Receive, api_of: ApiOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = receive("hooks")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    server = new_server("--allow-private-webhooks").start()
    # The calls of the test itself go to the server.
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name)
    assert api_of(server).test(type="webhook", url=f"{hooks.url}/200/a")["delivered"]


def test_what_cannot_be_a_channel_is_refused_with_the_field(
    server: GuardServer, api_of: ApiOf
) -> None:
    api = api_of(server)
    for channel, field in [
        ({"type": "webhook", "url": "hush-hush"}, "url"),
        ({"type": "webhook", "url": "file:///etc/hush-hush"}, "url"),
        ({"type": "slack", "url": "https://me:hush-hush@example.com/"}, "url"),
        ({"type": "webhook", "url": "https://example.com/", "secret": "hush"}, "secret"),
        ({"type": "email", "to": "hush-hush"}, "to"),
        ({"type": "ntfy", "url": "https://ntfy.sh/"}, "url"),
        ({"type": "telegram", "to": "-100123", "secret": "hush-hush"}, "secret"),
    ]:
        answer = api.call("POST", "channels", {"label": "a", **channel})
        assert answer.status_code == 400, answer.text
        assert answer.json()["field"] == field
        assert "hush" not in answer.text
    assert "hush" not in everything_shown(server, api)


def parse(taken: dict[str, str]) -> Message:
    return message_from_string(taken["mail"], policy=default)


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_a_mail_arrives_with_and_without_tls(
    new_server: NewServer,
    receive: Receive,
    api_of: ApiOf,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tls: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    password = tmp_path / "password"
    password.write_text("hush hush\n")
    certificate = () if tls == "none" else ("--certificate", authority.issue(LOCAL))
    implicit = ("--implicit",) if tls == "implicit" else ()
    mail = receive("mail", "--password", "hush hush", *certificate, *implicit)
    sign_in = ("--mail-user", "guard", "--mail-password-file", str(password))
    server = new_server(*FROM, "--mail-port", mail.port, "--mail-tls", tls, *sign_in).start()
    api = api_of(server)
    answer = api.test(type="email", to="ops@example.com, nobody@example.com")
    assert answer["delivered"], answer
    assert answer["status"] == 250
    refused = "it refused nobody@example.com: 5.1.1 no such user here"
    assert answer["text"] == f"250 2.0.0 queued as 4711; {refused}"
    (taken,) = mail.taken()
    assert taken["from"] == "guard@example.com"
    assert taken["to"] == ["ops@example.com"]
    assert taken["tls"] is (tls != "none")
    assert taken["user"] == "guard"
    message = parse(taken)
    assert message["From"] == "Guard <guard@example.com>"
    assert message["Subject"].startswith("[Guard] Test: ")
    assert message["Date"]
    assert re.fullmatch(r"<[0-9A-Za-z_-]+@example.com>", message["Message-ID"])
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]
    assert "hush" not in everything_shown(server, api)


def test_nothing_is_sent_without_the_tls_that_was_asked_for(
    new_server: NewServer, receive: Receive, api_of: ApiOf, authority: Authority
) -> None:
    plain = receive("mail")
    server = new_server(*FROM, "--mail-port", plain.port).start()
    answer = api_of(server).test(type="email", to="ops@example.com")
    assert "offers no STARTTLS" in answer["text"], answer
    assert plain.taken() == []
    server.stop()
    # Its certificate is not trusted.
    untrusted = receive("mail", "--certificate", authority.issue(LOCAL))
    server.options = (*FROM, "--mail-port", untrusted.port)
    answer = api_of(server.start()).test(type="email", to="ops@example.com")
    assert "no TLS connection: invalid peer certificate" in answer["text"], answer
    assert untrusted.taken() == []


def test_a_mail_server_that_refuses_is_quoted(
    new_server: NewServer, receive: Receive, api_of: ApiOf, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("hush hush hush")
    mail = receive("mail", "--password", "another")
    options = (*FROM, "--mail-port", mail.port, "--mail-tls", "none")
    sign_in = ("--mail-user", "guard", "--mail-password-file", str(password))
    server = new_server(*options, *sign_in).start()
    api = api_of(server)
    answer = api.test(type="email", to="ops@example.com")
    assert answer["status"] == 535, answer
    assert "while signing in" in answer["text"]
    assert mail.taken() == []
    assert "hush" not in everything_shown(server, api)


def test_without_a_mail_server_the_test_says_which_settings_are_missing(
    server: GuardServer, api_of: ApiOf
) -> None:
    answer = api_of(server).test(type="email", to="ops@example.com")
    assert "--mail-host and --mail-from" in answer["text"], answer
