"""Checks that the domain of guard-server knows neither HTTP, nor the command line, nor a database,
and that the modules of guard-agent and of guard-server do not import each other in circles.

`make lint` runs it. It prints each line that breaks the rule, and then fails.
"""

import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "crates" / "guard-server" / "src"
DOMAIN = ("rules", "projects", "people", "accounts", "fleet", "query", "explore", "tail", "alerts")
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


AGENT = Path(__file__).parent.parent / "crates" / "guard-agent" / "src"
IMPORT = re.compile(r"\bcrate::(?:(\w+)|\{([^}]*)\})")


def imports_of(sources: Path) -> dict[str, set[str]]:
    """The other top-level modules that each module imports. Tests may import anything."""
    imports: dict[str, set[str]] = {}
    for path in sources.glob("**/*.rs"):
        names = [part.removesuffix(".rs") for part in path.relative_to(sources).parts]
        module = names[0]
        # The first two only re-export; the conformance suite is a test.
        if module in ("lib", "limits") or {"tests", "conformance"} & set(names):
            continue
        source = path.read_text().partition("#[cfg(test)]\nmod tests {")[0]
        code = "\n".join(line.partition("//")[0] for line in source.splitlines())
        imported = imports.setdefault(module, set())
        for one, several in IMPORT.findall(code):
            imported |= {re.split("\\W", name.strip())[0] for name in (one or several).split(",")}
    return {module: names - {module} for module, names in imports.items()}


def circles(sources: Path) -> list[str]:
    """The first import cycle, if there is one."""
    try:
        TopologicalSorter(imports_of(sources)).prepare()
    except CycleError as error:
        return [f"{sources.parent.name}: modules in a circle: {' <- '.join(error.args[1])}"]
    return []


if __name__ == "__main__":
    sys.exit("\n".join(offences() + circles(AGENT) + circles(SOURCES)) or 0)
