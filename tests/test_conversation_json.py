"""The neutral model survives JSON: every struct, with every field."""

from __future__ import annotations

import inspect
import json
import re
from types import MappingProxyType
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec import Raw

from plano import conversation, errors
from plano.conversation import (
    Conversation,
    Event,
    Failed,
    Image,
    Message,
    Model,
    Opaque,
    Part,
    Reply,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from plano.conversation_json import conversation_of, event_of, model_of, reply_of, to_json
from plano.dialects import CLIENT_CODECS
from plano.errors import FilterError, InvalidRequest, MethodNotAllowed, ModelNotFound, PlanoError, UpstreamStatus
from plano.frames import sse
from plano.types import CLIENT_DIALECTS, UPSTREAM_DIALECTS, ClientDialect
from tests.test_fuzz import PORTABLE, STREAMED, WHOLE, dumps

STRUCTS = [
    found
    for _, found in inspect.getmembers(conversation, inspect.isclass)
    if issubclass(found, Model) and not found.__name__.startswith("_") and found is not Model
]
SPELLINGS = [b"1.50", b'{"b":1, "a":[ ]}', b'"caf\\u00e9"', '"Grüße 🐱"'.encode(), b"-0.0", b"12345678901234567890123"]
RESULT, DEEP = b'{"type":"tool_result","call_id":"1","parts":[', 600
NESTED = b'{"messages":[{"role":"user","parts":[' + RESULT * DEEP + b"]}" * DEEP + b"]}]}"

RAWS = st.sampled_from(SPELLINGS).map(Raw)
EXTRAS = st.dictionaries(st.sampled_from(UPSTREAM_DIALECTS), st.dictionaries(st.text(), RAWS, max_size=2), max_size=2)
FAULTS = st.builds(UpstreamStatus, st.text(), status=st.integers(400, 599), retry_after=st.none() | st.just(0.5))
LEAVES = st.sampled_from([kind for kind in get_args(Part) if kind is not ToolResult])


def built(kind: type[Model]) -> st.SearchStrategy[Any]:
    """Instances with any of their fields, and all that they need."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    needed = {name for name, field in fields.items() if field.required}
    values = {name: value_of(kind, name, field.type) for name, field in fields.items()}
    return st.fixed_dictionaries(
        {name: value for name, value in values.items() if name in needed},
        optional={name: value for name, value in values.items() if name not in needed},
    ).map(lambda given: kind(**given))


def value_of(kind: type[Model], name: str, type_: Any) -> st.SearchStrategy[Any]:
    if name == "extras":
        return EXTRAS
    if kind is ToolResult and name == "parts":  # results in results would be without end
        return st.lists(LEAVES.flatmap(st.from_type), max_size=2).map(tuple)
    return st.from_type(type_)


st.register_type_strategy(Raw, RAWS)
st.register_type_strategy(PlanoError, FAULTS)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
for each in STRUCTS:
    st.register_type_strategy(each, built)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_struct_comes_back_as_it_was(kind: type[Model]) -> None:
    @seed(1)
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.from_type(kind))
    def check(value: Model) -> None:
        data = to_json(value)
        back = model_of(kind, data)
        assert to_json(back) == data
        assert type(back) is kind
        if not isinstance(value, Failed):  # errors are equal to themselves alone
            assert back == value

    check()


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
def test_what_a_dialect_says_comes_back_as_it_was(dialect: ClientDialect) -> None:
    codec = CLIENT_CODECS[dialect]
    asked, reply = codec.read_request(dumps(PORTABLE[dialect])), codec.read_reply(dumps(WHOLE[dialect]))
    assert conversation_of(to_json(asked)) == asked
    assert reply_of(to_json(reply)) == reply
    reader = codec.stream_reader()
    events = [event for frame in sse.frames(STREAMED[dialect]) for event in reader.feed(frame)] + reader.finish()
    assert [event_of(to_json(event)) for event in events] == events


def test_parts_and_events_say_what_they_are_and_nothing_that_is_absent() -> None:
    said = (Text(text="a"), Image(url="u"), ToolCall(id="1", name="f", arguments="{"))
    (message,) = json.loads(to_json(Conversation(messages=(Message(role="user", parts=said),))))["messages"]
    assert message == {
        "role": "user",
        "parts": [
            {"type": "text", "text": "a"},
            {"type": "image", "url": "u"},
            {"type": "tool_call", "id": "1", "name": "f", "arguments": "{"},
        ],
    }
    assert json.loads(to_json(TextDelta(0, "a"))) == {"type": "text_delta", "index": 0, "text": "a"}


def test_every_part_and_event_has_a_tag_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in (*get_args(Part), *get_args(Event))]
    assert None not in tags
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_json_that_nobody_reads_stays_byte_for_byte(spelling: bytes) -> None:
    raw = Raw(spelling)
    part = Opaque(dialect="chat", type="x", raw=raw, extras={"chat": {"y": raw}}, cache=raw)
    back = model_of(Opaque, to_json(part))
    assert back.cache is not None
    assert [bytes(back.raw), bytes(back.extras["chat"]["y"]), bytes(back.cache)] == [spelling] * 3


def test_seals_and_bytes_survive() -> None:
    seal = "EqQB+/=\u2028\\"
    assert reply_of(to_json(Reply(parts=(Thinking(text="", seal=seal),)))).parts == (Thinking(text="", seal=seal),)
    assert event_of(to_json(Unknown("messages", "x", b"\xff\x00"))) == Unknown("messages", "x", b"\xff\x00")


@pytest.mark.parametrize(
    "error",
    [
        UpstreamStatus("m", status=429, code="c", param="p", retry_after=1.5),
        InvalidRequest("m"),
        ModelNotFound("x"),
        MethodNotAllowed("m", allow="POST"),
        FilterError("redact"),
        errors.ConfigError(["one", "two"]),
        errors.GatewayFailed(),
        PlanoError("m"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_class_and_what_it_says(error: PlanoError) -> None:
    failed = event_of(to_json(Failed(error)))
    assert isinstance(failed, Failed)
    assert type(failed.error) is type(error)
    assert vars(failed.error) == vars(error)
    assert str(failed.error) == error.message


def test_an_error_of_a_class_that_is_not_known_is_the_nearest_that_is() -> None:
    class Own(InvalidRequest):
        pass

    failed = event_of(to_json(Failed(Own("m"))))
    assert isinstance(failed, Failed)
    assert type(failed.error) is InvalidRequest
    said = b'{"error":"Newer","message":"m","status":499,"kind":"timeout","more":1}'
    newer = event_of(b'{"type":"failed","error":' + said + b"}")
    assert isinstance(newer, Failed)
    assert (type(newer.error), newer.error.status, newer.error.code) == (PlanoError, 499, None)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "truncated"),
        (b"[1]", "object"),
        (b'{"messages":[{"role":"user"}]}', "messages: Message: Missing required argument 'parts'"),
        (b'{"messages":[{"role":"user","parts":[{"type":"song"}]}]}', "messages: parts: Unknown type `song`"),
        (b'{"messages":[{"role":"user","parts":[{"text":"a"}]}]}', "messages: parts: Object missing"),
        (b'{"messages":[{"role":"boss","parts":[]}]}', "messages: role: Invalid enum value 'boss'"),
        (b'{"model":"\xff"}', "Invalid UTF-8"),
        (b'{"\xff":1}', "Invalid UTF-8"),
        (NESTED, "nested too deeply"),
        (b'{"temperature":"hot"}', "temperature: Expected `float | null`"),
    ],
)
def test_what_is_no_conversation_says_where(data: bytes, where: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=re.escape(where)):
        conversation_of(data)


def test_fields_that_are_not_known_are_passed_over() -> None:
    found: Any = conversation_of(b' {"type":"conversation","model":"m","later":{"a":1},"top_k":null} ')
    assert found == Conversation(model="m")


def test_a_mapping_of_any_kind_is_written() -> None:
    extras = MappingProxyType({"chat": MappingProxyType({"x": Raw(b"1.0")})})
    assert conversation_of(to_json(Conversation(extras=extras))).extras == {"chat": {"x": Raw(b"1.0")}}


def test_what_is_not_of_the_model_is_not_written() -> None:
    with pytest.raises(NotImplementedError):
        to_json(Conversation(model=object()))  # type: ignore[arg-type]
