"""Chat bodies on their way to servers that know Google's seals of calls, and to those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.capabilities import Takes
from plano.dialects import chat
from plano.losses import Losses

SEAL = {"google": {"thought_signature": "S"}}
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}
A = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
B = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
USER = {"role": "user", "content": "extra_content"}


def calling(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **more}


def written(messages: Any, seals: Any) -> tuple[Any, set[str]]:
    """The messages as they go up to a server with this row, and what is reported."""
    losses = Losses()
    asked = chat.read_request(json.dumps({"model": "m", "messages": messages}).encode())
    body = json.loads(chat.write_request(asked, losses, Takes(call_seals=seals)))
    return body["messages"], {loss.field for loss in losses}


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
    ],
)
def test_a_seal_is_taken_out_and_reported(messages: Any, expected: Any, reported: set[str]) -> None:
    assert written(messages, "refused") == (messages if expected is None else expected, reported)
    assert written(messages, "kept") == written(messages, None) == (messages, set())


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
    ],
)
def test_a_call_of_another_model_gets_a_text_in_place_of_its_seal(messages: Any, expected: Any) -> None:
    assert written(messages, "needed") == (messages if expected is None else expected, set())
