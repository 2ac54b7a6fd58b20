"""The description of the API, as a test reads it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator

METHODS = ("get", "post", "put", "patch", "delete")
# The credentials of agents.
AGENT_SCHEMES = {"key", "key_as_bearer"}


@dataclass
class Document:
    """A document of OpenAPI 3.1."""

    content: dict[str, Any]

    def operations(self) -> Iterator["Operation"]:
        for path, item in self.content["paths"].items():
            for method in METHODS:
                if method in item:
                    yield Operation(self, path, method, item[method])

    def resolve(self, part: dict[str, Any]) -> dict[str, Any]:
        """Follows a reference."""
        while "$ref" in part:
            found: Any = self.content
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            part = found
        return part

    def schemas_of_answers(self) -> dict[str, Any]:
        """The named schemas that answers in JSON are made of."""
        names: set[str] = set()
        todo: list[Any] = [operation.answers() for operation in self.operations()]
        while todo:
            part = todo.pop()
            if isinstance(part, list):
                todo += part
            elif isinstance(part, dict):
                todo += [value for key, value in part.items() if key != "example"]
                name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
                if name in self.content["components"]["schemas"].keys() - names:
                    names.add(name)
                    todo.append(self.content["components"]["schemas"][name])
        schemas = self.content["components"]["schemas"]
        return {name: schemas[name] for name in sorted(names)}

    @cached_property
    def closed_components(self) -> dict[str, Any]:
        """The schemas, which allow no property that is not described."""
        schemas = self.content["components"]["schemas"]
        return {"schemas": {name: closed(schema, True) for name, schema in schemas.items()}}

    def problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What in `value` is not as described."""
        whole = {**closed(schema), "components": self.closed_components}
        validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
        return [
            f"{error.json_path}: {error.message:.300}" for error in validator.iter_errors(value)
        ]


@dataclass
class Operation:
    """A method of a path."""

    document: Document
    path: str
    method: str
    content: dict[str, Any]
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = self.content["operationId"]

    def parameters(self, place: str) -> list[dict[str, Any]]:
        """The parameters in `path`, `query` or `header`."""
        all_of_them = map(self.document.resolve, self.content.get("parameters", []))
        return [parameter for parameter in all_of_them if parameter["in"] == place]

    def examples(self, place: str) -> dict[str, str]:
        found = self.parameters(place)
        return {each["name"]: str(each["example"]) for each in found if "example" in each}

    def bodies(self) -> dict[str, Any]:
        """The examples of the body by their names; a single None if the operation takes none."""
        if "requestBody" not in self.content:
            return {"": None}
        content = self.content["requestBody"]["content"]["application/json"]
        if "examples" in content:
            return {name: example["value"] for name, example in content["examples"].items()}
        schema = content["schema"]
        if "oneOf" in schema:
            schema = next(each for each in schema["oneOf"] if each.get("type") != "null")
        schema = self.document.resolve(schema)
        if "example" in schema:
            return {"": schema["example"]}
        properties = schema["properties"].items()
        return {"": {name: each["example"] for name, each in properties if "example" in each}}

    def answers(self) -> dict[str, dict[str, Any]]:
        """What it may answer, by status."""
        responses = self.content["responses"]
        return {status: self.document.resolve(each) for status, each in responses.items()}

    def success(self) -> str:
        return next(status for status in self.answers() if status.startswith("2"))

    def roles(self) -> list[str]:
        """The roles of people and programs that may call it; empty if it needs none."""
        return [role for each in self.content["security"] for role in next(iter(each.values()), [])]

    def is_for_agents(self) -> bool:
        return any(AGENT_SCHEMES & each.keys() for each in self.content["security"])

    def is_open(self) -> bool:
        """Whether it can be called without credentials."""
        return not self.content["security"] or {} in self.content["security"]


def closed(schema: Any, is_part: bool = False) -> Any:
    """The schema, without properties that it does not describe.

    The parts of a schema do not know of each other, so only the whole can refuse what none of them
    has.
    """
    if isinstance(schema, list):
        return [closed(each, is_part) for each in schema]
    if not isinstance(schema, dict):
        return schema
    parts = ("allOf", "anyOf", "oneOf")
    literal = ("example", "examples", "default", "enum", "const", "required")
    result = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: closed(each) for name, each in value.items()}
        else:
            result[key] = value if key in literal else closed(value, key in parts)
    describes = schema.keys() & {"$ref", "properties", *parts}
    if describes and not is_part and "additionalProperties" not in schema:
        result["unevaluatedProperties"] = False
    return result
