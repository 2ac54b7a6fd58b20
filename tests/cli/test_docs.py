"""The documents about the command and about troubleshooting match the code."""

import re
from collections.abc import Callable, Iterator

from support import ROOT
from support.guard_server import GuardServer
from support.redis_server import RedisServer

from cli.output import Output

# Created by `make bench`.
MADE = {ROOT / "bench" / "RESULTS.md"}
WHAT = re.compile(r"^(?:ok|warn|fail) +(.+?)  ", re.MULTILINE)


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_the_documents_name_what_doctor_checks(
    server: GuardServer, guard_agent: Callable[..., Output], start_redis: Callable[..., RedisServer]
) -> None:
    doctor = ("doctor", "--endpoint", server.url)
    shown = WHAT.findall(document("installation.md"))
    assert shown == [*WHAT.findall(guard_agent(*doctor).text), "test event"]
    checked = WHAT.findall(guard_agent(*doctor, GUARD_AGENT_REDIS_URL=start_redis().url).text)
    assert len(checked) == 12
    table = document("cli.md").partition("| line | checks |")[2]
    assert re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE) == checked


def sources(*others: str) -> str:
    """All code of the agent and the package, and of other crates, with string literals joined."""
    files = [
        *(file for crate in others for file in ROOT.glob(f"crates/{crate}/src/**/*.rs")),
        *ROOT.glob("crates/guard-agent*/src/**/*.rs"),
        *ROOT.glob("crates/guard-wire/src/**/*.rs"),
        *ROOT.glob("crates/guard-spool/src/**/*.rs"),
        *ROOT.glob("python/**/*.py"),
    ]
    code = "\n".join(file.read_text() for file in files)
    in_rust = re.sub(r"\\\n\s*", "", code)
    return re.sub(r'"\s*\n\s*f?"', "", in_rust)


def test_every_message_in_troubleshooting_exists_in_the_code() -> None:
    code = sources("guard-server")
    text = document("troubleshooting.md")
    tables = text.partition("## What the log says")[2]
    messages = re.findall(r"^\| `([^`]+)`", tables, re.MULTILINE)
    assert len(messages) > 20
    said_otherwise = {"certificate", "ImportError"}
    for message in set(messages) - said_otherwise:
        for part in re.split(r"\.\.\.|; records are kept|backend answered \d+|lost: each", message):
            words = part.strip(" ;,(")
            assert words in code, f"{message!r}: nothing says {words!r}"


def warnings(code: str) -> Iterator[str]:
    """The messages logged as a warning or worse, as written in the code."""
    for call in re.finditer(r"(?:_logger|shared|self)\.(?:warn|error|warning|exception)\(", code):
        statement = code[call.end() : call.end() + 400].partition("\n\n")[0]
        texts = re.findall(r'"((?:[^"\\]|\\.)*)"', statement)
        # The names of a stage and a topic may precede the message.
        yield from [text for text in texts if text.count(" ") > 1][:1]


def test_every_warning_has_a_row_in_troubleshooting() -> None:
    rows = document("troubleshooting.md").lower()
    logged = list(warnings(sources()))
    assert len(logged) > 25
    for warning in logged:
        parts = [part.strip(" ;:,.()") for part in re.split(r"\{.*?\}|%s|[;.:] ", warning.lower())]
        fixed = next(part for part in parts if " " in part)
        assert fixed in rows, warning


def test_every_link_in_the_documents_resolves() -> None:
    for file in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            is_elsewhere = "://" in target or (file.parent / target).resolve() in MADE
            assert is_elsewhere or (file.parent / target).exists(), f"{file.name}: {target}"


def test_every_path_in_the_guide_for_contributors_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    places = guide.partition("## Where does my change go?")[2]
    paths = re.findall(r"`((?:crates|python|docs|tests)/[\w./-]+)`", places)
    assert len(paths) > 15
    missing = [path for path in paths if not (ROOT / path).exists()]
    # A module may be a file or a folder.
    assert [path for path in missing if not (ROOT / f"{path}.rs").exists()] == []
