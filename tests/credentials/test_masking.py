"""Secrets are found however they are written, and nothing but them is touched."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plano.credentials.masking import Mask
from plano.errors import UpstreamProtocolError, UpstreamStatus

KEY = 'sk-a/b+c"d\\e&f=0123%'


def escaped(text: str, ways: list[int]) -> str:
    """A JSON string, each character spelled in one of the ways that RFC 8259 allows for it."""
    return '"' + "".join(spellings(character)[way % 3] for character, way in zip(text, ways, strict=True)) + '"'


def spellings(character: str) -> list[str]:
    itself = json.dumps(character)[1:-1]
    unit = f"{ord(character):04x}"
    return ["\\/" if character == "/" else itself, f"\\u{unit}", f"\\u{unit.upper()}"]


@given(st.lists(st.integers(0, 2), min_size=len(KEY), max_size=len(KEY)), st.integers(0, 2))
def test_a_key_is_found_in_every_spelling_of_json_and_in_json_within_json(ways: list[int], deeper: int) -> None:
    written = escaped(KEY, ways)
    assert json.loads(written) == KEY
    for _ in range(deeper):
        written = json.dumps(written)
    said = f'{{"text": "caf\\u00e9 \\/ \\"x\\"", "message": {written}, "more": [1.50]}}'
    masked = Mask([KEY]).out_of(said.encode()).decode()
    before, _, after = said.partition(written)
    assert masked.startswith(before)
    assert masked.endswith(after)
    assert masked[len(before) : len(masked) - len(after)].strip('\\"') == "***"


@pytest.mark.parametrize("text", [KEY, quote(KEY), quote(KEY, safe=""), html.escape(KEY), KEY.replace("/", "&#47;")])
def test_a_key_is_found_in_plain_text_a_url_and_a_web_page(text: str) -> None:
    assert Mask([KEY]).out_of_text(f"<p>100% of {text}&amp;more</p>") == "<p>100% of ***&amp;more</p>"


@given(st.binary(max_size=60))
def test_bytes_without_a_secret_are_the_same_object(data: bytes) -> None:
    assert Mask([KEY, "another-secret"]).out_of(data) is data


def test_secrets_within_and_across_each_other_leave_nothing() -> None:
    assert Mask(["abcdefgh", "cdefgh", "ghijklmn"]).out_of(b"-abcdefghijklmn-cdefgh-ghijklmn-") == b"-***-***-***-"


def test_what_is_too_short_to_be_a_secret_is_left_alone() -> None:
    assert Mask(["model", ""]).out_of_text("the model") == "the model"


def test_an_error_and_all_that_it_came_from_are_masked() -> None:
    cause = ValueError(f"bad line: {KEY}", 7)
    middle = UpstreamStatus(f"no such key: {KEY}", status=401, code=KEY, param=f"x.{KEY}")
    middle.__cause__ = cause
    error = UpstreamProtocolError("What is this?")
    error.__cause__ = middle
    cause.__context__ = error  # a ring, as careless code makes
    Mask([KEY]).out_of_error(error)
    assert (str(middle), middle.message, middle.code, middle.param) == ("no such key: ***",) * 2 + ("***", "x.***")
    assert cause.args == ("bad line: ***", 7)
