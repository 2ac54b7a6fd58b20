"""guard-server behind a real nginx: as the documentation sets it up, and as operators get it wrong.
`guard-server doctor --url` tells one from the other."""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support import ROOT
from support.certificates import Authority
from support.guard_server import ADMIN_TOKEN, GuardServer
from support.nginx import Nginx
from support.process import PATIENCE_SECONDS

TRUSTED = ("--trusted-proxy", "127.0.0.1")
DOCUMENT = (ROOT / "docs" / "operating.md").read_text()
# What an operator writes who knows nothing of forwarding headers.
BARE = "location / { proxy_pass http://127.0.0.1:8400; }"


@pytest.fixture
def nginx(tmp_path: Path, authority: Authority, cleanup: ExitStack) -> Nginx:
    folder = tmp_path / "nginx"
    folder.mkdir()
    nginx = Nginx(folder, authority.issue("localhost"))
    cleanup.callback(nginx.stop)
    return nginx


def documented() -> str:
    """The location of the documentation."""
    found = re.search(r"^```nginx\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def to(server: GuardServer, location: str) -> str:
    return location.replace("http://127.0.0.1:8400", server.url)


def doctor(server: GuardServer, url: str, authority: Authority) -> dict[str, str]:
    """What doctor says of the way to the server: the line of each check."""
    settings: list[str | Path] = [server.binary, "--data-dir", server.data, *server.options]
    checked = subprocess.run(
        [*settings, "doctor", "--url", url, "--ca-file", authority.certificate],
        env={**os.environ, "GUARD_SERVER_ADMIN_TOKEN": ADMIN_TOKEN},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    lines = checked.stdout.splitlines()
    is_bad = any(line.startswith("fail") for line in lines)
    assert checked.returncode == int(is_bad), checked.stdout + checked.stderr
    found = {line[6:19].strip(): f"{line[:4].strip()}: {line[21:]}" for line in lines}
    names = ("url", "address", "https", "origin", "public url")
    return {name: found[name] for name in names if name in found}


def test_behind_the_proxy_of_the_documentation_all_is_well(
    new_server: Callable[..., GuardServer], nginx: Nginx, authority: Authority
) -> None:
    url = f"{nginx.url}/guard"
    server = new_server(*TRUSTED, "--public-url", url).start()
    nginx.start(to(server, documented()))
    found = doctor(server, url, authority)
    assert [line[:3] for line in found.values()] == ["ok:"] * 5, found
    assert found["address"] == (
        "ok: the server sees 127.0.0.1, through the trusted proxy 127.0.0.1"
    )
    page = requests.get(f"{url}/", verify=str(authority.certificate), timeout=PATIENCE_SECONDS)
    assert "Strict-Transport-Security" in page.headers


def test_a_proxy_that_the_server_does_not_trust_is_named(
    new_server: Callable[..., GuardServer], nginx: Nginx, authority: Authority
) -> None:
    url = f"{nginx.url}/guard"
    server = new_server("--public-url", url).start()
    nginx.start(to(server, documented()))
    found = doctor(server, url, authority)
    assert found["address"].startswith("fail: ")
    assert "--trusted-proxy 127.0.0.1" in found["address"]
    assert found["https"].startswith("warn: "), found


def test_a_proxy_without_forwarding_headers_is_told_what_is_missing(
    new_server: Callable[..., GuardServer], nginx: Nginx, authority: Authority
) -> None:
    server = new_server(*TRUSTED).start()
    nginx.start(to(server, BARE))
    found = doctor(server, nginx.url, authority)
    assert [line.partition(":")[0] for line in found.values()] == ["ok", *["fail"] * 3, "ok"], found
    assert "let it send X-Forwarded-For" in found["address"]
    assert "X-Forwarded-Proto" in found["https"]
    assert f'Origin "{nginx.url}"' in found["origin"]


def test_a_public_url_with_another_path_than_the_proxy_is_reported(
    new_server: Callable[..., GuardServer], nginx: Nginx, authority: Authority
) -> None:
    server = new_server(*TRUSTED, "--public-url", nginx.url).start()
    nginx.start(to(server, documented().replace("8400;", "8400/;")))
    url = f"{nginx.url}/guard"
    found = doctor(server, url, authority)
    assert found["public url"] == (
        f"fail: --public-url is {nginx.url}: links and cookies do not fit {url}"
    )


def test_a_url_that_leads_nowhere_is_one_failure(
    new_server: Callable[..., GuardServer], nginx: Nginx, authority: Authority
) -> None:
    server = new_server().start()
    found = doctor(server, nginx.url, authority)
    assert list(found) == ["url"]
    assert found["url"].startswith(f"fail: cannot connect to {nginx.url}/"), found
    nginx.start("location / { return 404; }")
    found = doctor(server, nginx.url, authority)
    assert "is it guard-server? --url names it" in found["url"], found
