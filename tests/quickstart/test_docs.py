"""docs/quickstart.md shows programs that run."""

import re

import pytest
from conftest import TESTS

QUICKSTART = (TESTS.parent / "docs" / "quickstart.md").read_text()


def test_the_quickstart_shows_the_example_as_it_is() -> None:
    example = (TESTS.parent / "examples" / "quickstart" / "main.py").read_text()
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
