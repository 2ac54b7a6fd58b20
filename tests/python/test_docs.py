"""The documentation, against the code."""

import doctest
import importlib
import pkgutil
import re

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


@pytest.mark.usefixtures("make_config")
@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    module = importlib.import_module(f"guard_agent.{name}")
    assert doctest.testmod(module).failed == 0


def test_all_public_names_are_documented() -> None:
    names = [name for name in guard_agent.__all__ if name != "__version__"]
    assert [name for name in names if not getattr(guard_agent, name).__doc__] == []
