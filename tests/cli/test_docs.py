"""The documents of the command and of troubleshooting say what is so."""

import re
from collections.abc import Callable

from conftest import TESTS, Output
from guard_server import GuardServer

ROOT = TESTS.parent
# Made by `make bench`.
MADE = {ROOT / "bench" / "RESULTS.md"}
WHAT = re.compile(r"^(?:ok|warn|fail) +(.+?)  ", re.MULTILINE)


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_the_documents_name_what_doctor_checks(
    server: GuardServer, guard_agent: Callable[..., Output]
) -> None:
    checked = WHAT.findall(guard_agent("doctor", "--endpoint", server.url).text)
    assert len(checked) == 8
    shown = WHAT.findall(document("installation.md"))
    assert shown == [*checked, "test event"]
    table = document("cli.md").partition("| line | checks |")[2]
    assert re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE) == checked


def sources() -> str:
    """All code of the agent and the package, with its texts in one piece."""
    files = [
        *ROOT.glob("crates/guard-agent*/src/**/*.rs"),
        *ROOT.glob("crates/guard-wire/src/**/*.rs"),
        *ROOT.glob("python/**/*.py"),
    ]
    code = "\n".join(file.read_text() for file in files)
    in_rust = re.sub(r"\\\n\s*", "", code)
    return re.sub(r'"\s*\n\s*f?"', "", in_rust)


def test_every_message_of_troubleshooting_is_one_that_is_said() -> None:
    code = sources()
    text = document("troubleshooting.md")
    tables = text.partition("## What the log says")[2]
    messages = re.findall(r"^\| `([^`]+)`", tables, re.MULTILINE)
    assert len(messages) > 20
    said_otherwise = {"certificate", "ImportError"}
    for message in set(messages) - said_otherwise:
        for part in re.split(r"\.\.\.|; records are kept|backend answered \d+|lost: each", message):
            words = part.strip(" ;,(")
            assert words in code, f"{message!r}: nothing says {words!r}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for file in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            is_elsewhere = "://" in target or (file.parent / target).resolve() in MADE
            assert is_elsewhere or (file.parent / target).exists(), f"{file.name}: {target}"
