"""Checks that the domain of guard-server knows neither HTTP, nor the command line, nor a database.

`make lint` runs it. It prints each line that breaks the rule, and then fails.
"""

import re
import sys
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "crates" / "guard-server" / "src"
DOMAIN = ("rules", "projects", "people", "fleet", "query", "alerts")
FORBIDDEN = re.compile(
    r"\b(?:axum\w*|clap|rusqlite|tokio_postgres|clickhouse)::|\bcrate::(?:http|cli)\b"
)


def offences() -> list[str]:
    found = []
    for path in sorted(file for name in DOMAIN for file in SOURCES.glob(f"{name}/**/*.rs")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            code = line.partition("//")[0]
            if match := FORBIDDEN.search(code):
                found.append(f"{path.relative_to(SOURCES)}:{number}: {match[0]} {code.strip()}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(offences()) or 0)
