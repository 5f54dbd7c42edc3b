"""Rows of capabilities: the choice of the row that counts, and its effect on a body."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from plano.capabilities import Fields, Refused, Takes, limits, takes_of
from plano.losses import Losses
from plano.provider import Provider
from plano.types import UpstreamDialect

SAMPLING = Refused(fields=("temperature", "top_k"), reason="{model} has its own", harmless={"temperature": 1})
ROWS = {
    "": Takes(developer=False, renames={"max_completion_tokens": "max_tokens"}),
    "big-": Takes(max_tokens=10, refuses=(SAMPLING,)),
    "big-4": Takes(max_tokens=20, developer=True),
    "odd": Takes(dialects=("chat",), renames={"seed": "random_seed"}),
}


@pytest.mark.parametrize(
    ("model", "dialect", "expected"),
    [
        ("small", "chat", ROWS[""]),
        ("big-3", "chat", Takes(developer=False, renames=ROWS[""].renames, max_tokens=10, refuses=(SAMPLING,))),
        ("big-4o", "chat", Takes(developer=True, renames=ROWS[""].renames, max_tokens=20, refuses=(SAMPLING,))),
        ("odd", "chat", Takes(developer=False, renames={"seed": "random_seed"})),
        ("odd", "responses", ROWS[""]),
    ],
)
def test_the_row_with_the_longest_pattern_that_states_it_counts(
    model: str, dialect: UpstreamDialect, expected: Takes
) -> None:
    assert takes_of(ROWS, model, dialect) == expected


def test_without_rows_nothing_is_known_of_a_model() -> None:
    assert takes_of({}, "any", "chat") == Takes()
    assert Takes().words() == ()


def fitted(takes: Takes, body: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    fields, losses = msgspec.json.decode(msgspec.json.encode(body), type=Fields), Losses()
    before = msgspec.json.encode(fields)
    takes.fit("big-3", fields, losses)
    if msgspec.json.encode(fields) != before:
        assert any(b'"%b"' % word.encode() in before for word in takes.words())
    return msgspec.json.decode(msgspec.json.encode(fields)), [(loss.field, loss.reason) for loss in losses]


@pytest.mark.parametrize(
    ("body", "expected", "lost"),
    [
        ({"temperature": 0.5, "top_k": 1, "n": 1}, {"n": 1}, ["temperature", "top_k"]),
        ({"temperature": 1, "top_k": None}, {"temperature": 1, "top_k": None}, []),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}, []),
        ({"max_completion_tokens": 5, "max_tokens": 6}, {"max_tokens": 6}, []),
        ({"max_completion_tokens": 5, "max_tokens": None}, {"max_tokens": 5}, []),
        ({"max_completion_tokens": None, "max_tokens": 6}, {"max_tokens": 6}, []),
        ({"messages": [{"role": "developer", "content": "a"}]}, {"messages": [{"role": "system", "content": "a"}]}, []),
        ({"messages": "developer"}, {"messages": "developer"}, []),
        ({"n": 1}, {"n": 1}, []),
    ],
)
def test_a_body_is_fitted_to_its_row(body: dict[str, Any], expected: dict[str, Any], lost: list[str]) -> None:
    found, losses = fitted(takes_of(ROWS, "big-3", "chat"), body)
    assert found == expected
    assert losses == [(name, "big-3 has its own") for name in lost]


@pytest.mark.parametrize(("temperature", "kept"), [(None, {"top_p"}), (0, {"temperature"}), (0.5, {"temperature"})])
def test_a_null_excludes_nothing(temperature: float | None, kept: set[str]) -> None:
    found, _ = fitted(Takes(excludes={"temperature": "top_p"}), {"temperature": temperature, "top_p": 0.5})
    assert {name for name, value in found.items() if value is not None} == kept


@pytest.mark.parametrize(
    ("body", "over"),
    [
        ({"tools": [{"type": "function"}]}, "responses"),
        ({"functions": [{"name": "f"}]}, "responses"),
        ({"tools": [{"type": "function"}], "reasoning_effort": "none"}, None),
        ({"tools": []}, None),
        ({"tools": None}, None),
        ({"messages": [{"role": "user", "content": 'tools: {"tools": [{"a": 1}]}'}]}, None),
        ({"messages": [{"role": "user", "content": "tools"}]}, None),
    ],
)
def test_only_a_request_with_tools_goes_over_the_api_that_takes_them(body: dict[str, Any], over: str | None) -> None:
    takes = Takes(tools_over="responses", tools_refused="tools")
    for indent in (None, 1):
        assert takes.sends_tools_over(json.dumps(body, indent=indent).encode()) == over


def test_a_row_and_a_prepare_function_work_on_the_same_body() -> None:
    def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
        fields.pop("max_tokens", None)

    paths: dict[UpstreamDialect, str] = {"chat": "/c"}
    both = Provider(name="p", paths=paths, takes=ROWS, prepare=prepare, triggers=lambda dialect, model: ("max_tokens",))
    change, words = both.preparation("chat", "small")
    assert words == ("developer", "max_completion_tokens", "max_tokens")
    fields: Fields = {"max_completion_tokens": msgspec.Raw(b"5")}
    assert change is not None
    change("chat", "small", fields, Losses())
    assert fields == {}
    assert Provider(name="p", paths=paths, takes=ROWS, prepare=prepare).preparation("chat", "small")[1] is None
    assert Provider(name="p", paths=paths).preparation("chat", "small") == (None, ())
    silent = Provider(name="p", paths=paths, prepare=prepare, triggers=lambda dialect, model: ())
    assert silent.preparation("chat", "small") == (None, ())


def test_limits_are_rows_too() -> None:
    row = Provider(name="p", paths={"chat": "/c"}, takes=limits({"big-": 10, "big-4": 20}))
    assert [row.most_tokens(model) for model in ("big-3", "big-4-5", "small")] == [10, 20, None]
