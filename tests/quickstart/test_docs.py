"""The programs in docs/quickstart.md and the package's examples run."""

import doctest
import importlib
import re

import pytest
from support import ROOT

QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()


def test_the_quickstart_shows_the_unmodified_example() -> None:
    example = (ROOT / "examples" / "quickstart" / "main.py").read_text()
    assert f"```python\n{example}```\n" in QUICKSTART


def test_every_program_of_the_quickstart_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GUARD_AGENT_API_KEY", "YOUR_API_KEY")
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", QUICKSTART, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "quickstart.md", "exec", dont_inherit=True), names)


@pytest.mark.parametrize("name", ["fastapi_guard", "redis_handler"])
def test_the_examples_of_the_package_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"fastapi_guard.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
