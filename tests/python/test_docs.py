"""The documentation matches the code."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined
from support import ROOT

import guard_agent
from guard_agent import AgentConfig

DOCS = ROOT / "docs"
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(guard_agent.__path__)
    if module.name != "__main__"
)


def test_the_configuration_reference_has_every_field_with_its_default_and_meaning() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    table = text.split("## Fields")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", table, re.MULTILINE)
    expected = []
    for name, field in AgentConfig.model_fields.items():
        value = field.get_default(call_default_factory=True, validated_data={})
        default = "required" if value is PydanticUndefined else f"`{value!r}`"
        expected.append((name, default, field.description))
    assert documented == expected


# Ends a program that would run forever.
PATIENCE_SECONDS = 120


def programs(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("program", programs("configuration.md"), ids=["agent", "transport"])
def test_each_program_of_the_configuration_reference_runs_by_itself(
    program: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_plain_program_with_the_pages_handler_exits_at_sigterm(tmp_path: Path) -> None:
    (handler,) = programs("processes.md")
    program = f"{handler}\nimport os\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 143


@pytest.mark.usefixtures("make_config")
@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    module = importlib.import_module(f"guard_agent.{name}")
    assert doctest.testmod(module).failed == 0


def test_all_public_names_are_documented() -> None:
    names = [name for name in guard_agent.__all__ if name != "__version__"]
    assert [name for name in names if not getattr(guard_agent, name).__doc__] == []
