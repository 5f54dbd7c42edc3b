"""Chat bodies on their way to servers that know Google's seals of calls, and to those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from plano.dialects.chat.sealed_calls import stand_in, unseal
from plano.losses import Losses

SEAL = {"google": {"thought_signature": "S"}}
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}
A = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
B = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
USER = {"role": "user", "content": "extra_content"}


def calling(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **more}


def fields_of(messages: Any) -> dict[str, Raw]:
    return {"model": Raw(b'"m"'), "messages": Raw(json.dumps(messages).encode())}


@pytest.mark.parametrize(
    ("messages", "expected", "reported"),
    [
        ([USER, calling(A | {"extra_content": SEAL}, B)], [USER, calling(A, B)], {"messages.tool_calls.extra_content"}),
        ([calling(A, B | {"extra_content": SEAL})], [calling(A, B)], {"messages.tool_calls.extra_content"}),
        (
            [calling(A | {"extra_content": SEAL}), calling(B | {"extra_content": SEAL})],
            [calling(A), calling(B)],
            {"messages.tool_calls.extra_content"},
        ),
        (
            [{"role": "assistant", "content": "t", "extra_content": SEAL}],
            [{"role": "assistant", "content": "t"}],
            {"messages.extra_content"},
        ),
        ([USER, calling(A)], None, set()),
        ([USER, calling()], None, set()),
        ("extra_content", None, set()),
        ([1], None, set()),
        ([{"role": "assistant", "tool_calls": "extra_content"}], None, set()),
    ],
)
def test_a_seal_is_taken_out_and_reported(messages: Any, expected: Any, reported: set[str]) -> None:
    fields, losses = fields_of(messages), Losses()
    before = dict(fields)
    unseal(fields, losses)
    assert {loss.field for loss in losses} == reported
    if expected is None:
        assert fields == before
    else:
        assert json.loads(bytes(fields["messages"])) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, calling(A, B)], [USER, calling(A | {"extra_content": STAND_IN}, B)]),
        (
            [calling(A), calling(B)],
            [calling(A | {"extra_content": STAND_IN}), calling(B | {"extra_content": STAND_IN})],
        ),
        (
            [calling(A, B | {"extra_content": SEAL})],
            [calling(A | {"extra_content": STAND_IN}, B | {"extra_content": SEAL})],
        ),
        ([calling(A | {"extra_content": SEAL}, B)], None),
        ([USER, calling()], None),
        ([1], None),
        ([{"role": "assistant", "tool_calls": None}], None),
    ],
)
def test_a_call_of_another_model_gets_a_text_in_place_of_its_seal(messages: Any, expected: Any) -> None:
    fields = fields_of(messages)
    before = dict(fields)
    stand_in(fields)
    if expected is None:
        assert fields == before
    else:
        assert json.loads(bytes(fields["messages"])) == expected


def test_a_body_without_messages_is_left_alone() -> None:
    fields = {"model": Raw(b'"m"')}
    unseal(fields, Losses())
    stand_in(fields)
    assert fields == {"model": Raw(b'"m"')}
