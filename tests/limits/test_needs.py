from __future__ import annotations

import json
from typing import Any

import pytest

from plano.limits.needs import size_of
from plano.types import ClientDialect
from tests.limits.asking import request


@pytest.mark.parametrize(
    ("dialect", "fields", "output"),
    [
        ("chat", {}, 1024),
        ("chat", {"max_tokens": 10}, 10),
        ("chat", {"max_completion_tokens": 20}, 20),
        ("chat", {"max_completion_tokens": 20, "max_tokens": 10}, 20),
        ("chat", {"max_tokens": 10, "n": 4}, 40),
        ("chat", {"max_tokens": None, "n": None}, 1024),
        ("messages", {"max_tokens": 30}, 30),
        ("responses", {}, 1024),
        ("responses", {"max_output_tokens": 40}, 40),
        # what the upstream will refuse reserves something, and breaks nothing here
        ("chat", {"max_tokens": "ten"}, 1024),
        ("chat", {"max_tokens": -5}, 0),
        ("chat", {"max_tokens": 10, "n": -1}, 10),
        ("chat", {"max_tokens": 10**30}, 1_000_000),
        ("chat", {"max_tokens": 10, "n": 10**30}, 1_280),
    ],
)
def test_the_output_that_a_request_may_have_stands_in_its_body(
    dialect: ClientDialect, fields: dict[str, Any], output: int
) -> None:
    assert size_of(request(dialect=dialect, **fields)).output(1024, None) == output


@pytest.mark.parametrize(
    ("asked", "most", "output"), [(None, 500, 500), (None, 5_000, 1024), (3_000, 500, 500), (3_000, 5_000, 3_000)]
)
def test_no_more_is_expected_than_the_model_can_give(asked: int | None, most: int, output: int) -> None:
    assert size_of(request(max_tokens=asked)).output(1024, most) == output


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"max_tokens":' + b"[" * 9999, b"\xff\xfe"])
def test_any_body_has_a_size(raw: bytes) -> None:
    size = size_of(request(raw=raw))

    assert size.input >= 1
    assert size.output(1024, None) == 1024


def test_a_body_is_measured_once() -> None:
    asked = request()
    again = asked.replace(model="another")

    assert size_of(asked) is size_of(again)
    longer = json.dumps({"messages": [{"role": "user", "content": "word " * 100}]}).encode()
    assert size_of(asked.replace(raw=longer)).input > 100
