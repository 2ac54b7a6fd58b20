"""A live stream behind nginx: each event comes at once, compressed or not."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests
from support.certificates import Authority
from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT, GuardServer
from support.nginx import Nginx
from support.process import PATIENCE_SECONDS

# nginx's defaults, and everything compressed that can be.
PLAIN = ""
COMPRESSED = "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1; gzip_http_version 1.0;"


def send(server: GuardServer, key: str) -> None:
    event = {
        "idempotency_key": key,
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "event_type": "ip_banned",
    }
    answer = requests.post(
        f"{server.url}/api/v1/events",
        json={"events": [event]},
        headers={"X-API-Key": API_KEY},
        timeout=PATIENCE_SECONDS,
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("settings", [PLAIN, COMPRESSED])
def test_a_live_event_passes_nginx_while_the_stream_is_open(
    settings: str, server: GuardServer, authority: Authority, tmp_path: Path, cleanup: ExitStack
) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    nginx = Nginx(folder, authority.issue("localhost"))
    cleanup.callback(nginx.stop)
    nginx.start(f"location / {{ proxy_pass {server.url}; {settings} }}")
    with requests.get(
        f"{nginx.url}{PROJECT}/events/tail",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Accept-Encoding": "gzip"},
        verify=str(authority.certificate),
        stream=True,
        timeout=PATIENCE_SECONDS,
    ) as stream:
        assert stream.status_code == 200
        pieces: Iterator[bytes] = stream.iter_content(None)
        # One event alone: a buffer would hold it back until much more came.
        for key in ("first", "second"):
            send(server, key)
            seen = b""
            while key.encode() not in seen:
                seen += next(pieces)
