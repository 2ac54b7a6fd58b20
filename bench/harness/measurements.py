"""What guard-server measures about itself, at `GET /metrics`."""

import re
import urllib.request

from harness.rules import ADMIN_TOKEN, Server


def measurement(backend: Server, sample: str) -> float:
    """The value of a sample, named with its labels. 0 if nothing was measured yet."""
    request = urllib.request.Request(
        f"{backend.address}/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
