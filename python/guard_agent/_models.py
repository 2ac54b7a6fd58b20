"""Converts pydantic models to records with the same output as pydantic.

Most models have nothing that changes pydantic's output. The agent reads those directly from
`__dict__`, which takes a fraction of the time. For all others it uses pydantic's output.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict

from guard_agent import _native

# The agent writes values of these types as pydantic does, even if a field holds another type.
_SCALARS = frozenset(
    {
        "any",
        "none",
        "bool",
        "int",
        "float",
        "decimal",
        "str",
        "datetime",
        "date",
        "time",
        "uuid",
        "literal",
        "enum",
    }
)

# Types that are written as their parts, and where the schema lists the parts.
_PARTS = {
    "nullable": ("schema",),
    "default": ("schema",),
    "function-before": ("schema",),
    "function-after": ("schema",),
    "function-wrap": ("schema",),
    "list": ("items_schema",),
    "set": ("items_schema",),
    "frozenset": ("items_schema",),
    "dict": ("keys_schema", "values_schema"),
}

# Schema keys of a model and its fields that do not change the output.
_MODEL = frozenset(
    {
        "type",
        "cls",
        "generic_origin",
        "schema",
        "custom_init",
        "root_model",
        "post_init",
        "revalidate_instances",
        "strict",
        "frozen",
        "extra_behavior",
        "config",
        "ref",
        "metadata",
    }
)
_FIELDS = frozenset(
    {
        "type",
        "fields",
        "model_name",
        "computed_fields",
        "strict",
        "extras_schema",
        "extras_keys_schema",
        "extra_behavior",
        "from_attributes",
        "ref",
        "metadata",
    }
)
_FIELD = frozenset({"type", "schema", "validation_alias", "frozen", "metadata"})

# Before 2.11, pydantic-core uses aliases unless told otherwise.
_BY_ALIAS = None if "serialize_by_alias" in ConfigDict.__annotations__ else False


def plain_fields(model: type[Any]) -> int | None:
    """Returns the number of fields if pydantic writes the model unchanged; else None.

    Anything unknown here, such as a type of a later pydantic, does not count as unchanged.
    """
    schema: Any = getattr(model, "__pydantic_core_schema__", None)
    # A validator of the whole model wraps its schema.
    while isinstance(schema, dict) and str(schema.get("type")).startswith("function-"):
        if "serialization" in schema:
            return None
        schema = schema.get("schema")
    if not _has_only(schema, "model", _MODEL) or schema.get("root_model"):
        return None
    if any(name.startswith(("ser", "polymorphic")) for name in schema.get("config", ())):
        return None
    fields = schema["schema"]
    if not _has_only(fields, "model-fields", _FIELDS) or fields.get("computed_fields"):
        return None
    own = fields["fields"].values()
    further = [fields["extras_schema"]] if "extras_schema" in fields else []
    if not all(_has_only(field, "model-field", _FIELD) for field in own):
        return None
    plain = all(map(_is_plain, [*(field["schema"] for field in own), *further]))
    return len(own) if plain else None


def _has_only(schema: Any, kind: str, names: frozenset[str]) -> bool:
    return isinstance(schema, dict) and schema.get("type") == kind and schema.keys() <= names


def _is_plain(schema: Mapping[str, Any]) -> bool:
    if "serialization" in schema:
        return False
    kind = schema["type"]
    if kind == "union":
        choices = schema["choices"]
        return all(_is_plain(one[0] if isinstance(one, tuple) else one) for one in choices)
    if kind == "tuple":
        return all(_is_plain(item) for item in schema["items_schema"])
    parts = (schema[name] for name in _PARTS.get(kind, ()) if name in schema)
    return kind in _SCALARS or (kind in _PARTS and all(_is_plain(part) for part in parts))


def written(model: Any) -> Any:
    """Returns pydantic's output for a model or pydantic dataclass.

    Replaces values that pydantic cannot write, such as bytes that are not UTF-8, by the name of
    their type, field by field.
    """
    try:
        return _write(model)
    except Exception:
        return dict(_written_fields(model))


def _written_fields(model: Any) -> Iterator[tuple[str, Any]]:
    kind = type(model)
    for name in getattr(kind, "__pydantic_fields__", None) or kind.model_fields:
        yield from _written_field(model, name).items()


def _written_field(model: Any, name: str) -> dict[str, Any]:
    try:
        return dict(_write(model, include={name}))
    except Exception:
        return {name: f"<{type(getattr(model, name, None)).__name__}>"}


def _write(model: Any, include: set[str] | None = None) -> Any:
    serializer = type(model).__pydantic_serializer__
    return serializer.to_python(
        model,
        mode="json",
        include=include,
        by_alias=_BY_ALIAS,
        warnings=False,
        fallback=_read,
    )


def _read(value: Any) -> Any:
    """Converts a value that pydantic does not know."""
    return json.loads(_native.redact(value, []))
