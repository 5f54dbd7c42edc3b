"""The words of a model for how hard to think: which is the nearest, and whether it will think at all."""

from __future__ import annotations

from typing import Any

import pytest

from plano.capabilities import Fields, Thinking, encoded
from plano.losses import Losses

LADDER = ("none", "low", "high", "max")


@pytest.mark.parametrize(
    ("efforts", "asked", "said"),
    [
        (LADDER, "low", "low"),
        (LADDER, "minimal", "low"),
        (LADDER, "medium", "high"),
        (LADDER, "xhigh", "high"),
        (("low", "medium", "high"), "max", "high"),
        (("none", "high"), "minimal", "high"),
        (("medium", "high", "xhigh"), "minimal", "medium"),
        (("low", "high"), "extreme", "extreme"),
        (("none", "default"), "high", "high"),
        ((), "high", "high"),
    ],
)
def test_the_nearest_word_is_the_one_nearer_to_high_of_two(efforts: tuple[str, ...], asked: str, said: str) -> None:
    assert Thinking("default", efforts).nearest(asked) == said


CLAUDE = Thinking("asked", ("low", "high"), claude="adaptive")
SWITCHED = Thinking("default", switch="thinking")


@pytest.mark.parametrize(
    ("thinking", "body", "thinks"),
    [
        (Thinking("never"), {"reasoning_effort": "high"}, False),
        (Thinking("always"), {"reasoning_effort": "none"}, True),
        (Thinking("asked", LADDER), {}, False),
        (Thinking("asked", LADDER), {"reasoning_effort": "low"}, True),
        (Thinking("asked", LADDER), {"reasoning": {"effort": "low"}}, True),
        (Thinking("default", LADDER), {}, True),
        (Thinking("default", LADDER), {"reasoning_effort": "none"}, False),
        (Thinking("default", LADDER), {"reasoning": {"effort": "none"}}, False),
        (SWITCHED, {"thinking": {"type": "disabled"}}, False),
        (SWITCHED, {"thinking": {"type": "enabled"}}, True),
        (CLAUDE, {}, False),
        (CLAUDE, {"thinking": {"type": "adaptive"}}, True),
        (CLAUDE, {"thinking": {"type": "disabled"}}, False),
    ],
)
def test_a_model_thinks_as_its_row_and_the_request_say(thinking: Thinking, body: dict[str, Any], thinks: bool) -> None:
    assert thinking.thinks({name: encoded(value) for name, value in body.items()}) is thinks


@pytest.mark.parametrize(
    "thinking", [Thinking("never"), Thinking("always"), Thinking("asked", LADDER), SWITCHED, CLAUDE]
)
@pytest.mark.parametrize(
    "body",
    [
        {"reasoning_effort": "max"},
        {"reasoning_effort": 7},
        {"reasoning": {"effort": "none", "summary": "auto"}},
        {"reasoning": "x"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
        {"thinking": [], "output_config": 1},
        {"include": ["reasoning.encrypted_content"]},
        {"temperature": 1},
    ],
)
def test_a_body_that_is_changed_has_one_of_the_words(thinking: Thinking, body: dict[str, Any]) -> None:
    fields: Fields = {name: encoded(value) for name, value in body.items()}
    before, losses = encoded(fields), Losses()
    thinking.tell("m", fields, losses)
    if bytes(encoded(fields)) != bytes(before) or len(losses):
        assert any(b'"%b"' % word.encode() in bytes(before) for word in thinking.words())


def test_a_switch_that_the_client_set_stays() -> None:
    fields: Fields = {"reasoning_effort": encoded("none"), "thinking": encoded({"type": "enabled"})}
    SWITCHED.tell("m", fields, Losses())
    assert {name: bytes(value) for name, value in fields.items()} == {"thinking": b'{"type":"enabled"}'}
