"""Models are sent as pydantic writes them."""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import json
import math
import re
import threading
import uuid
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy
import pydantic.dataclasses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from support.backend import Backend

from guard_agent import AgentConfig, SecurityEvent, SecurityMetric, SyncGuardAgentHandler
from guard_agent import sanitize_headers as read
from guard_agent._models import plain_fields

Make = Callable[..., AgentConfig]
T = TypeVar("T")
SECRET = "s3cret"
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.timezone.utc)
FIELDS: dict[str, Any] = {"timestamp": NOON, "event_type": "ip_banned"}


def sent(make_config: Make, backend: Backend, event: Any) -> dict[str, Any]:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event)
    agent.flush_buffer()
    return backend.events[-1]


def same(value: Any) -> Any:
    """`value` with times in a uniform format, and null for values without a JSON form.

    In UTC pydantic writes Z and omits a zero fraction; the agent writes +00:00 and six digits.
    """
    if isinstance(value, dict):
        return {name: same(item) for name, item in value.items()}
    if isinstance(value, list):
        return [same(item) for item in value]
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return dt.datetime.fromisoformat(value.replace("Z", "+00:00")).isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Color(enum.Enum):
    RED = "red"
    FIRST = 1


class Part(BaseModel):
    n: int = 1
    card: str = Field(default=SECRET, exclude=True)


class FullPart(Part):
    password: str = SECRET


class Rooted(RootModel[list[int]]):
    pass


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGER = st.integers(-(2**63), 2**63 - 1)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | INTEGER
    | st.floats()
    | TEXT
    | st.sampled_from(Color)
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.builds(Part)
    | st.builds(FullPart)
    | st.builds(Rooted, st.lists(INTEGER, max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT | st.integers(0, 9) | st.sampled_from(Color), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INTEGER),
    (str, TEXT),
    (float, st.floats()),
    (bool, st.booleans()),
    (int | None, st.none() | INTEGER),
    (dt.datetime, st.datetimes(timezones=st.just(dt.timezone.utc) | st.none())),
    (dt.date, st.dates()),
    (dt.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (bytes, TEXT.map(str.encode)),
    (Color, st.sampled_from(Color)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (list[int], st.lists(INTEGER, max_size=3)),
    (dict[str, Any], st.dictionaries(TEXT, ANY, max_size=3)),
    (tuple[int, str], st.tuples(INTEGER, TEXT)),
    (set[int], st.sets(INTEGER, max_size=3)),
    (Annotated[int, Field(gt=0)], st.integers(1, 9)),
    (SecretStr, TEXT.map(SecretStr)),
    (Part, st.builds(Part) | st.builds(FullPart)),
    (list[Part], st.lists(st.builds(FullPart), max_size=2)),
    (Rooted, st.builds(Rooted, st.lists(INTEGER, max_size=3))),
    (Any, ANY),
]


def mask(_: Any) -> str:
    return "***"


def wrap(value: Any, write: SerializerFunctionWrapHandler) -> Any:
    return [write(value)]


@st.composite
def models(draw: st.DrawFn) -> BaseModel:
    """An instance of a new class; every second class has only plain fields."""
    is_plain = draw(st.booleans())
    fields: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for index in range(draw(st.integers(0, 4))):
        name = f"f{index}"
        annotation, strategy = draw(st.sampled_from(TYPES))
        values[name] = draw(strategy)
        options: dict[str, Any] = {}
        if not is_plain:
            if draw(st.booleans()):
                when = draw(st.sampled_from(["always", "unless-none", "json", "json-unless-none"]))
                serializer = draw(st.sampled_from([PlainSerializer(mask), WrapSerializer(wrap)]))
                annotation = Annotated[annotation, dataclasses.replace(serializer, when_used=when)]
            options |= draw(st.sampled_from([{}, {"exclude": True}]))
            options |= draw(st.sampled_from([{}, {"serialization_alias": f"alias{index}"}]))
        fields[name] = (annotation, Field(**options))
    config = ConfigDict(extra=draw(st.sampled_from(["allow", "ignore"])))
    if not is_plain:
        config["serialize_by_alias"] = draw(st.booleans())
        config["ser_json_timedelta"] = draw(st.sampled_from(["iso8601", "float"]))
    made = create_model("Made", __config__=config, **fields)
    further = draw(st.dictionaries(st.sampled_from(["g0", "g1"]), ANY))
    return made.model_construct(**values, **further)


@settings(max_examples=500, deadline=None)
@given(models())
def test_any_model_is_sent_as_pydantic_writes_it(model: BaseModel) -> None:
    written = same(model.model_dump(mode="json"))
    assert same(read(model, [])) == written
    assert same(read({"deep": [model]}, [])) == {"deep": [written]}


class Excluded(BaseModel):
    name: str = "n"
    card: str = Field(default=SECRET, exclude=True)


class Masked(BaseModel):
    token: str = SECRET

    @field_serializer("token")
    def mask(self, _: str) -> str:
        return "***"


class MaskedInJson(BaseModel):
    token: str = SECRET

    @field_serializer("token", when_used="json")
    def mask(self, _: str) -> str:
        return "***"


class Renamed(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    client: str = Field(default="v", serialization_alias="clientName")


class NotRenamed(BaseModel):
    client: str = Field(default="v", alias="clientName")


class Computed(BaseModel):
    n: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.n


class Summed(BaseModel):
    a: str = SECRET

    @model_serializer
    def write(self) -> str:
        return "summed"


class WrappedWhole(BaseModel):
    a: int = 1

    @model_serializer(mode="wrap")
    def write(self, write: SerializerFunctionWrapHandler) -> Any:
        return {"inside": write(self)}


class Private(BaseModel):
    name: str = "n"
    _key: str = PrivateAttr(SECRET)


class Cached(BaseModel):
    n: int = 1

    @functools.cached_property
    def key(self) -> str:
        return SECRET


class Typed(BaseModel):
    part: Part = Field(default_factory=FullPart)


class Checked(BaseModel):
    n: int = 1

    @field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        return n

    @model_validator(mode="after")
    def check_all(self) -> "Checked":
        return self


class Holder(BaseModel, Generic[T]):
    held: T


@pydantic.dataclasses.dataclass
class Data:
    name: str = "n"
    card: str = Field(default=SECRET, exclude=True)


def cached() -> Cached:
    model = Cached()
    assert model.key == SECRET
    return model


def hidden_attribute() -> Private:
    model = Private()
    object.__setattr__(model, "token", SECRET)
    return model


@pytest.mark.parametrize(
    ("model", "written"),
    [
        (Excluded(), {"name": "n"}),
        (Masked(), {"token": "***"}),
        (MaskedInJson(), {"token": "***"}),
        (Renamed(), {"clientName": "v"}),
        (NotRenamed(), {"client": "v"}),
        (Computed(), {"n": 1, "double": 2}),
        (Summed(), "summed"),
        (WrappedWhole(), {"inside": {"a": 1}}),
        (Rooted([1, 2]), [1, 2]),
        (RootModel[dict[str, Masked]]({"a": Masked()}), {"a": {"token": "***"}}),
        (Private(), {"name": "n"}),
        (cached(), {"n": 1}),
        (hidden_attribute(), {"name": "n"}),
        (Typed(), {"part": {"n": 1}}),
        (Checked(), {"n": 1}),
        (Holder[Excluded](held=Excluded()), {"held": {"name": "n"}}),
        (Holder[Any](held=[Excluded()]), {"held": [{"name": "n"}]}),
        (Data(), {"name": "n"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_models_excluded_and_changed_fields_are_respected(
    make_config: Make, backend: Backend, model: Any, written: Any
) -> None:
    metadata = {"x": model, "list": [model]}
    for event in (SecurityEvent(**FIELDS, metadata=metadata), FIELDS | {"metadata": metadata}):
        assert sent(make_config, backend, event)["metadata"] == {"x": written, "list": [written]}


def events() -> list[Any]:
    class CardEvent(SecurityEvent):
        card: str = Field(default=SECRET, exclude=True)

    class MaskedEvent(SecurityEvent):
        token: str = SECRET

        @field_serializer("token")
        def mask(self, _: str) -> str:
            return "***"

    class ReasonEvent(SecurityEvent):
        reason: str = Field(default=SECRET, exclude=True)

    class RenamedEvent(SecurityEvent):
        model_config = ConfigDict(serialize_by_alias=True)
        source: str = Field(default="shop", serialization_alias="source.name")

    class ComputedEvent(SecurityEvent):
        @computed_field  # type: ignore[prop-decorator]
        @property
        def severity(self) -> int:
            return 7

    class WholeEvent(SecurityEvent):
        token: str = SECRET

        @model_serializer(mode="wrap")
        def write(self, write: SerializerFunctionWrapHandler) -> Any:
            written = write(self)
            del written["token"]
            return written

    kinds = [SecurityEvent, CardEvent, MaskedEvent, ReasonEvent, RenamedEvent, ComputedEvent]
    return [kind(**FIELDS, metadata={"n": 1}) for kind in [*kinds, WholeEvent]]


@pytest.mark.parametrize("event", events(), ids=lambda event: type(event).__name__)
def test_an_event_of_a_subclass_is_sent_as_pydantic_writes_it(
    make_config: Make, backend: Backend, event: SecurityEvent
) -> None:
    written = {
        name: value for name, value in event.model_dump(mode="json").items() if value is not None
    }
    got = sent(make_config, backend, event)
    assert same(got) == same(written)
    assert SECRET not in json.dumps(got)


def test_fields_that_pydantic_cannot_write_are_replaced(
    make_config: Make, backend: Backend
) -> None:
    class ComputedEvent(SecurityEvent):
        body: Any = b"\xff"
        token: str = Field(default=SECRET, exclude=True)

    got = sent(make_config, backend, ComputedEvent(**FIELDS, reason="why", metadata={"n": 1}))
    assert (got["body"], got["reason"], got["metadata"]) == ("<bytes>", "why", {"n": 1})
    assert "token" not in got


def test_a_serializer_that_raises_shows_nothing(make_config: Make, backend: Backend) -> None:
    class Broken(BaseModel):
        token: str = SECRET

        @model_serializer
        def write(self) -> str:
            raise RuntimeError(SECRET)

    got = sent(make_config, backend, FIELDS | {"metadata": {"x": Broken(), "n": 1}})
    assert got["metadata"] == {"x": {"token": "<str>"}, "n": 1}


@dataclasses.dataclass(slots=True)
class Slots:
    a: int = 1
    shared: ClassVar[str] = SECRET
    given: dataclasses.InitVar[str] = SECRET


@dataclasses.dataclass(slots=True)
class Unset:
    a: int = 1
    unset: int = dataclasses.field(init=False)


class Height(enum.Enum):
    HIGH = decimal.Decimal("1.5")


VALUES = [
    (Slots(), {"a": 1}),
    (Color.RED, "red"),
    (Height.HIGH, "1.5"),
    (decimal.Decimal("1.50"), "1.50"),
    (fractions.Fraction(1, 3), "1/3"),
    (numpy.float64(1.5), 1.5),
    (numpy.float32(1.5), 1.5),
    (numpy.int64(-3), -3),
    (numpy.uint8(3), 3),
    (numpy.bool_(True), True),
    (numpy.str_("x"), "x"),
    (numpy.bytes_(b"x"), "x"),
    (numpy.longdouble(1.5), 1.5),
    (numpy.datetime64("2026-01-02"), "2026-01-02"),
    (numpy.float64("nan"), None),
]


@pytest.mark.parametrize(("value", "written"), VALUES, ids=lambda value: type(value).__name__)
def test_values_are_the_same_in_a_model_and_in_a_mapping(
    make_config: Make, backend: Backend, value: Any, written: Any
) -> None:
    class Slow(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        value: Any
        hidden: str = Field(default=SECRET, exclude=True)

    held = {"map": {"value": value}, "model": Holder[Any](held=value), "slow": Slow(value=value)}
    expected = {"map": {"value": written}, "model": {"held": written}, "slow": {"value": written}}
    for event in (SecurityEvent(**FIELDS, metadata=held), FIELDS | {"metadata": held}):
        assert sent(make_config, backend, event)["metadata"] == expected


def test_a_field_that_was_never_set_is_left_out() -> None:
    assert read({"x": Unset(), "class": Slots}, []) == {"x": {"a": 1}, "class": str(Slots)}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (decimal.Decimal("1.50"), 1.5),
        (fractions.Fraction(1, 4), 0.25),
        (Height.HIGH, 1.5),
        (Color.FIRST, 1),
        (numpy.float32(1.5), 1.5),
        (numpy.int64(3), 3),
        (numpy.bool_(True), 1),
        (numpy.longdouble(1.5), 1.5),
        (7, 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_number_is_the_value_of_a_metric(
    make_config: Make, backend: Backend, value: Any, written: float
) -> None:
    class Loose(SecurityMetric):
        value: Any

    class Object:
        timestamp, metric_type, endpoint, tags = NOON, "error_rate", None, None

    Object.value = value  # type: ignore[attr-defined]
    fields: dict[str, Any] = {"timestamp": NOON, "metric_type": "error_rate", "value": value}
    agent = SyncGuardAgentHandler(make_config())
    for metric in (fields, Loose(**fields), Object()):
        agent.send_metric(metric)
    agent.flush_buffer()
    assert [metric["value"] for metric in backend.metrics] == [written] * 3


def test_which_models_are_read_without_pydantic() -> None:
    plain: list[tuple[type[Any], int]] = [
        (SecurityEvent, 17),
        (SecurityMetric, 5),
        (Checked, 1),
        (Private, 1),
        (Holder[int], 1),
    ]
    assert [plain_fields(model) for model, _ in plain] == [count for _, count in plain]
    written = [Excluded, Masked, MaskedInJson, Renamed, Computed, Summed, WrappedWhole, Rooted]
    assert [plain_fields(model) for model in [*written, Typed, Data]] == [None] * 10


def test_a_rebuilt_class_is_inspected_again() -> None:
    class Changing(BaseModel):
        name: str = "n"
        card: str = SECRET

    model = Changing()
    assert read(model, []) == {"name": "n", "card": SECRET}
    Changing.model_fields["card"].exclude = True
    Changing.model_rebuild(force=True)
    assert read(model, []) == model.model_dump() == {"name": "n"}


def test_a_class_at_the_address_of_a_deleted_one_is_inspected_again() -> None:
    for index in range(3000):
        made: Any = create_model("Made", card=(str, Field(default=SECRET, exclude=index % 2 == 1)))
        assert read(made(), []) == ({} if index % 2 else {"card": SECRET})
        del made
        if index % 500 == 0:
            gc.collect()


def test_many_threads_can_inspect_classes_at_once() -> None:
    made = [
        create_model("Made", card=(str, Field(default=SECRET, exclude=True)))() for _ in range(50)
    ]
    start, wrong = threading.Barrier(8), []

    def look() -> None:
        start.wait()
        wrong.extend(model for model in made if read(model, []) != {})

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
