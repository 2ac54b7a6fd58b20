"""guard-agent doctor, against a real server and against every possible problem."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from support.certificates import Authority
from support.gateway import Gateway
from support.guard_server import API_KEY, GuardServer

from cli.output import Output
from cli.scripted import Answer, Scripted
from guard_agent import __version__

Command = Callable[..., Output]
StartBackend = Callable[..., Scripted]


def test_a_local_server_passes_all_checks(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", server.url)

    assert output.code == 0
    assert output.says("ok", "configuration") == "the agent takes it"
    assert output.says("ok", "package") == f"fastapi-guard-agent {__version__}"
    assert len(output.says("ok", "install id")) == 36
    assert output.says("ok", "dns") == "127.0.0.1"
    assert output.says("ok", "connection") == server.url.removeprefix("http://")
    assert output.says("ok", "tls") == "none, within this machine"
    assert output.says("ok", "key") == "the backend takes it"
    assert output.says("ok", "clock") == "agrees with the backend's"
    assert output.errors == ""


def test_settings_come_from_the_environment(server: GuardServer, guard_agent: Command) -> None:
    assert guard_agent("doctor", GUARD_AGENT_ENDPOINT=server.url + "/api/v1/").code == 0


def test_the_key_may_come_from_a_file_or_standard_input(
    server: GuardServer, guard_agent: Command, tmp_path: Path
) -> None:
    file = tmp_path / "key.txt"
    file.write_text(API_KEY + "\n")
    for name, stdin in ((str(file), ""), ("-", API_KEY + "\n")):
        options = ("--endpoint", server.url, "--api-key-file", name)
        output = guard_agent("doctor", *options, stdin=stdin, GUARD_AGENT_API_KEY="not this one")
        assert output.code == 0, output.text


def test_a_wrong_key_is_reported(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent(
        "doctor", "--endpoint", server.url, GUARD_AGENT_API_KEY="fg_not_the_right_one"
    )
    assert output.code == 1
    assert output.says("fail", "key").startswith(
        "the backend refuses it with 401: Unknown API key - correct"
    )
    assert "fg_not_the_right_one" not in output.text


def test_a_closed_port_is_reported(guard_agent: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    output = guard_agent("doctor", "--endpoint", f"http://127.0.0.1:{port}")
    assert output.code == 1
    expected = f"127.0.0.1:{port}: Connection refused - start the backend"
    assert output.says("fail", "connection").startswith(expected)


def test_an_unknown_host_is_reported(guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", "https://guard.invalid")
    assert output.code == 1
    assert output.says("fail", "dns").startswith("guard.invalid is unknown: ")


def test_a_trusted_certificate_is_shown_with_its_expiry(
    authority: Authority, start_backend: StartBackend, guard_agent: Command
) -> None:
    backend = start_backend(authority.issue("localhost", days=90))
    output = guard_agent(
        "doctor", "--endpoint", backend.url, SSL_CERT_FILE=str(authority.certificate)
    )
    assert output.code == 0, output.text
    assert output.says("ok", "tls").startswith("the certificate is good until ")


def test_a_certificate_of_an_authority_is_reported_by_doctor_and_agent(
    authority: Authority, start_backend: StartBackend, guard_agent: Command
) -> None:
    # A default openssl certificate, except for a name that Python accepts.
    certificate = authority.self_signed("localhost", "-addext", "subjectAltName=DNS:localhost")
    backend = start_backend(certificate)
    for command, step in (("doctor", "tls"), ("send-test-event", "test event")):
        output = guard_agent(command, "--endpoint", backend.url, SSL_CERT_FILE=str(certificate))
        assert output.code == 1
        found = output.says("fail", step)
        assert "(CA:TRUE)" in found
        assert "make another" in found
        assert "-addext basicConstraints=critical,CA:FALSE" in found


def test_a_certificate_that_expires_soon_is_a_warning(
    authority: Authority, start_backend: StartBackend, guard_agent: Command
) -> None:
    backend = start_backend(authority.issue("localhost", days=3))
    output = guard_agent(
        "doctor", "--endpoint", backend.url, SSL_CERT_FILE=str(authority.certificate)
    )
    assert output.code == 0, output.text
    assert output.says("warn", "tls").endswith("2 days - renew the backend's certificate")


@pytest.mark.parametrize(
    ("host", "days", "is_known", "expected"),
    [
        ("localhost", -1, True, "certificate has expired - renew"),
        ("localhost", 9, False, "unable to get local issuer certificate - set SSL_CERT_FILE"),
        ("other.example", 9, True, "certificate is not valid for 'localhost'. - set endpoint to"),
    ],
    ids=["expired", "of an unknown authority", "for another host"],
)
def test_a_bad_certificate_is_reported(
    authority: Authority,
    start_backend: StartBackend,
    guard_agent: Command,
    host: str,
    days: int,
    is_known: bool,
    expected: str,
) -> None:
    backend = start_backend(authority.issue(host, days))
    roots = {"SSL_CERT_FILE": str(authority.certificate)} if is_known else {}
    output = guard_agent("doctor", "--endpoint", backend.url, **roots)
    assert output.code == 1
    assert expected in output.says("fail", "tls")


def test_a_self_signed_certificate_is_reported(
    authority: Authority, start_backend: StartBackend, guard_agent: Command
) -> None:
    chain = authority.folder / "self.pem"
    chain.write_bytes(authority.key.read_bytes() + authority.certificate.read_bytes())
    output = guard_agent("doctor", "--endpoint", start_backend(chain).url)
    assert output.code == 1
    assert output.says("fail", "tls").startswith("self-signed certificate - set SSL_CERT_FILE")


def test_https_to_a_port_without_tls_is_reported(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", server.url.replace("http", "https"))
    assert output.code == 1
    assert output.says("fail", "tls").startswith("no TLS: ")


def test_http_to_a_port_with_tls_is_reported(
    authority: Authority, start_backend: StartBackend, guard_agent: Command
) -> None:
    backend = start_backend(authority.issue("localhost"))
    output = guard_agent("doctor", "--endpoint", backend.url.replace("https", "http"))
    assert output.code == 1
    assert output.says("fail", "answer").startswith("no answer in HTTP: ")


def test_the_environment_proxy_is_used_and_its_password_hidden(
    server: GuardServer, authority: Authority, guard_agent: Command, cleanup: ExitStack
) -> None:
    gateway = Gateway(server.url, authority.issue("api.fastapi-guard.com", days=90))
    cleanup.callback(gateway.stop)
    proxy = gateway.url.removeprefix("http://")
    output = guard_agent(
        "doctor",
        HTTPS_PROXY=f"http://someone:pass-word@{proxy}",
        SSL_CERT_FILE=str(authority.certificate),
    )
    assert output.code == 0, output.text
    expected = f"api.fastapi-guard.com:443 by the proxy {proxy}"
    assert output.says("ok", "connection") == expected
    assert "pass-word" not in output.text


# A discard port of this machine, where nothing listens.
NOWHERE = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("host", "settings", "reached"),
    [
        ("guard.example", {"ALL_PROXY": "{server}"}, True),
        ("guard.example", {"all_proxy": "{server}"}, True),
        ("guard.example", {"HTTP_PROXY": "", "ALL_PROXY": "{server}"}, True),
        ("guard.example", {"HTTP_PROXY": "ftp://no.proxy", "ALL_PROXY": "{server}"}, True),
        ("guard.example", {"HTTP_PROXY": "{server}", "ALL_PROXY": NOWHERE}, True),
        ("guard.example", {"HTTP_PROXY": NOWHERE, "http_proxy": "{server}"}, True),
        ("guard.example", {"HTTP_PROXY": "{server}", "http_proxy": NOWHERE}, False),
        ("guard.example", {"HTTP_PROXY": "{server}", "NO_PROXY": "ample"}, True),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "10.0.0.1, 127.0.0.0/8"}, True),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1"}, True),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "*"}, True),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1:{port}"}, True),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1:1"}, False),
        ("127.0.0.1", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "x", "no_proxy": "127.0.0.1"}, True),
        ("127.0.0.1", {"ALL_PROXY": NOWHERE, "REQUEST_METHOD": "GET"}, True),
        ("localhost", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "*"}, True),
        ("localhost", {"HTTP_PROXY": NOWHERE, "NO_PROXY": ".LocalHost"}, True),
        ("localhost", {"HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.0/8"}, False),
    ],
)
def test_doctor_and_agent_use_the_same_proxy(
    server: GuardServer,
    guard_agent: Command,
    host: str,
    settings: dict[str, str],
    reached: bool,
) -> None:
    port = server.url.rpartition(":")[2]
    environment = {
        name: text.format(server=server.url, port=port) for name, text in settings.items()
    }
    for command in ("doctor", "send-test-event"):
        output = guard_agent(command, "--endpoint", f"http://{host}:{port}", **environment)
        assert (output.code == 0) == reached, output.text


def test_an_unusable_proxy_is_reported(server: GuardServer, guard_agent: Command) -> None:
    for scheme, expected in (
        ("socks5", "the agent supports no proxy by socks5 - name one by http in HTTPS_PROXY, "),
        ("https", "not checked, since the proxy is one by https - try it by guard-agent send-"),
    ):
        proxy = f"{scheme}://someone:pass-word@{NOWHERE}"
        output = guard_agent("doctor", "--endpoint", server.url, ALL_PROXY=proxy)
        assert output.code == 1
        found = output.says("fail", "connection")
        assert f" by the proxy {NOWHERE}: {expected}" in found
        assert "pass-word" not in output.text


def test_an_unreachable_proxy_is_reported(server: GuardServer, guard_agent: Command) -> None:
    proxy = f"http://someone:pass-word@{NOWHERE}"
    output = guard_agent("doctor", "--endpoint", server.url, HTTP_PROXY=proxy)
    assert output.code == 1
    expected = f" by the proxy {NOWHERE}: Connection refused - start the proxy, "
    assert expected in output.says("fail", "connection")
    assert "pass-word" not in output.text


def test_a_proxy_that_does_not_speak_http_is_reported(
    guard_agent: Command, authority: Authority, start_backend: StartBackend
) -> None:
    port = start_backend(authority.issue("localhost")).url.rpartition(":")[2]
    proxy = f"localhost:{port}"
    output = guard_agent("doctor", "--endpoint", "http://guard.example", HTTP_PROXY=proxy)
    assert output.code == 1
    assert output.says("fail", "answer").startswith(f"no answer in HTTP by the proxy {proxy}: ")


def test_a_key_sent_in_plaintext_is_a_warning(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", "http://guard.example", HTTP_PROXY=server.url)
    assert output.code == 0, output.text
    expected = "none: the key and all records travel to guard.example in clear - put TLS"
    assert output.says("warn", "tls").startswith(expected)


@pytest.mark.parametrize(
    ("hours", "expected"), [(-1, r"3[56]\d\d s ahead of"), (1, r"3[56]\d\d s behind")]
)
def test_a_wrong_clock_is_reported(
    start_backend: StartBackend, guard_agent: Command, hours: int, expected: str
) -> None:
    backend = start_backend()
    backend.date = format_datetime(datetime.now(timezone.utc) + timedelta(hours=hours), usegmt=True)
    output = guard_agent("doctor", "--endpoint", backend.url)
    assert output.code == 1
    found = output.says("fail", "clock")
    assert re.match(rf"this machine's is {expected} the backend's - set the clock", found), found


@pytest.mark.parametrize("date", ["", "soon"])
def test_a_backend_without_a_date_is_a_warning(
    start_backend: StartBackend, guard_agent: Command, date: str
) -> None:
    backend = start_backend()
    backend.date = date
    output = guard_agent("doctor", "--endpoint", backend.url)
    assert output.code == 0
    assert output.says("warn", "clock").startswith("not compared")


@pytest.mark.parametrize(
    ("answer", "level", "expected"),
    [
        (Answer(204, body=""), "ok", "the backend takes it"),
        (Answer(403), "fail", "the backend refuses it with 403"),
        (
            Answer(403, body=f'{{"detail": "{API_KEY} is unknown"}}'),
            "fail",
            "the backend refuses it with 403: [REDACTED] is unknown - correct",
        ),
        (
            Answer(302, headers={"Location": "https://new.example/api/v1/rules"}),
            "fail",
            "the backend answers 302; redirects are not followed - "
            "set endpoint to https://new.example",
        ),
        (Answer(429), "warn", "not checked, since the backend is busy (429)"),
        (Answer(500), "fail", "the answer to /api/v1/rules is 500 and holds no rules"),
        (
            Answer(500, body='{"detail": "disk full"}'),
            "fail",
            "the answer to /api/v1/rules is 500 and holds no rules: disk full - set endpoint",
        ),
        (Answer(200, body="<html>"), "fail", "the answer to /api/v1/rules is 200 and holds no"),
        (Answer(404), "fail", "the answer to /api/v1/rules is 404 and holds no rules"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
def test_each_answer_to_the_key_has_its_line(
    start_backend: StartBackend, guard_agent: Command, answer: Answer, level: str, expected: str
) -> None:
    backend = start_backend()
    backend.answers["/api/v1/rules"] = answer
    output = guard_agent("doctor", "--endpoint", backend.url)
    assert output.says(level, "key").startswith(expected)
    assert output.code == (1 if level == "fail" else 0)


def test_a_backend_without_rules_cannot_verify_the_key(
    start_backend: StartBackend, guard_agent: Command
) -> None:
    backend = start_backend()
    backend.answers = {"/api/v1/status": Answer(200)}
    output = guard_agent("doctor", "--endpoint", backend.url)
    assert output.code == 0
    assert output.says("warn", "key").endswith("try it by guard-agent send-test-event")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"API_KEY": ""}, "api_key is not given - set GUARD_AGENT_API_KEY, or give --api-key-file"),
        ({"API_KEY": "short"}, "api_key must be at least 10 characters long - correct"),
        ({"ENDPOINT": "guard.example"}, "endpoint: "),
        ({"ENDPOINT": "http://localhost:99999"}, 'endpoint = "http://localhost:99999": give'),
        (
            {"ENDPOINT": "http://user:c2VjcmV0@guard.example"},
            "endpoint: Value error, leave user and",
        ),
        ({"BUFFER_SIZE": "many"}, "buffer_size: "),
        ({"FLUSH_INTERVAL": "0"}, "flush_interval must be greater than 0, not 0 - correct"),
        ({"PROJECT_ENCRYPTION_KEY": "c2VjcmV0LXRoYXQtaXMtc2hvcnQ="}, ""),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else None,
)
def test_an_invalid_configuration_is_reported(
    guard_agent: Command, settings: dict[str, str], expected: str
) -> None:
    variables = {f"GUARD_AGENT_{name}": value for name, value in settings.items()}
    output = guard_agent("doctor", **variables)
    assert output.code == 1
    assert output.says("fail", "configuration").startswith(expected)
    assert output.levels() == ["fail"]
    assert "c2VjcmV0" not in output.text


def test_a_missing_key_file_is_reported(guard_agent: Command) -> None:
    output = guard_agent("doctor", "--api-key-file", API_KEY)
    assert output.code == 1
    expected = "the file of --api-key-file cannot be read: No such file or directory - give"
    assert output.says("fail", "configuration").startswith(expected)
    assert API_KEY not in output.text + output.errors


def test_an_unknown_variable_is_a_warning(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", server.url, GUARD_AGENT_ENDPIONT="http://x")
    assert output.code == 0
    assert output.text.splitlines()[0].endswith(
        "GUARD_AGENT_ENDPIONT is no setting of the agent - did you mean GUARD_AGENT_ENDPOINT?"
    )


def test_a_read_only_home_is_a_warning(server: GuardServer, guard_agent: Command) -> None:
    output = guard_agent("doctor", "--endpoint", server.url, HOME="/dev/null")
    assert output.code == 0
    assert output.says("warn", "install id").startswith("it cannot be kept: ")


def test_a_second_package_in_the_same_folder_is_reported(
    server: GuardServer, guard_agent: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other_agent-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other-agent\nVersion: 1.0\n")
    (other / "top_level.txt").write_text("guard_agent\n")
    output = guard_agent("doctor", "--endpoint", server.url, PYTHONPATH=str(tmp_path))
    assert output.code == 1
    assert output.says("fail", "package") == (
        "other-agent installs guard_agent too - "
        "pip uninstall other-agent, then install fastapi-guard-agent again"
    )
