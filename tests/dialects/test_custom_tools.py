"""Free text in JSON arguments, and out of them again."""

from __future__ import annotations

import json

import msgspec
import pytest

from plano.dialects.custom_tools import SCHEMA, Unwrapper, unwrap, wrap

TEXTS = [
    "",
    "plain",
    'quotes " and \\ backslashes \\\\" and / slashes',
    "lines\nand\ttabs\r\b\f\x00\x1f",
    "Grüße, 漢字, 🎉🎉, \u2028 and \x7f",
    '{"input": "wrapped twice"}',
    "*** Begin Patch\n@@\n-a\n+b\n*** End Patch",
]

CASES = [
    ("", ""),
    ('{"input":""}', ""),
    ('{"input":"a"}', "a"),
    (' {\n "input" : "a\\nb" }\n', "a\nb"),
    ('{"input":"\\ud83c\\udf89 \\u00e9"}', "🎉 é"),
    ('{"input":"\\u00E9\\/\\"\\\\"}', 'é/"\\'),
    ('{"input":"cut sho', "cut sho"),
    ('{"input":"cut\\', "cut\\"),
    ('{"input":"cut\\u00e', "cut\\u00e"),
    ('{"input":"half \\ud83c"}', "half \ufffd"),
    ('{"input":"half \\ud83c', "half \ufffd"),
    ('{"input":"half \\ud83cx"}', "half \ufffdx"),
    ('{"input":"half \\ud83c\\n"}', "half \ufffd\n"),
    ('{"input":"two \\ud83c\\ud83c\\udf89"}', "two \ufffd🎉"),
    ('{"input":"other half \\udf89"}', "other half \ufffd"),
    ('{"input":"bad \\x \\u12g4"}', "bad \\x \\u12g4"),
    ('{"input":"raw\nnewline"}', "raw\nnewline"),
    ('{"input":"a","other":"b"}', "a"),
    ('{"other":1,"input":"late"}', "late"),
    ('{"\\u0069nput":"a"}', "a"),
    ("{" + " " * 300 + '"input":"far"}', "far"),
    ('{"input":1}', '{"input":1}'),
    ('{"inputs":"a"}', '{"inputs":"a"}'),
    ("{}", "{}"),
    ('{"inp', '{"inp'),
    ("print('hi')", "print('hi')"),
    ('"a"', '"a"'),
    ("  ", "  "),
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_was_wrapped_unwraps_to_itself_however_json_spells_it(text: str) -> None:
    assert json.loads(wrap(text)) == {"input": text}
    for spelling in (
        wrap(text),
        json.dumps({"input": text}),
        json.dumps({"input": text}, ensure_ascii=False, indent=2),
    ):
        assert unwrap(spelling) == text


@pytest.mark.parametrize(("arguments", "text"), CASES)
def test_arguments_of_any_shape_give_their_text(arguments: str, text: str) -> None:
    assert unwrap(arguments) == text


@pytest.mark.parametrize(
    ("arguments", "text"), CASES + [(json.dumps({"input": text}), text) for text in TEXTS], ids=lambda value: value[:20]
)
def test_cuts_make_no_difference(arguments: str, text: str) -> None:
    for cut in range(len(arguments) + 1):
        assert _fed([arguments[:cut], arguments[cut:]]) == text
    assert _fed(list(arguments)) == text


def test_text_is_given_as_soon_as_it_is_there() -> None:
    unwrapper = Unwrapper()
    assert [unwrapper.feed(piece) for piece in ('{"inp', 'ut": "a', "b", "\\", "n", 'c"', "}")] == [
        "",
        "a",
        "b",
        "",
        "\n",
        "c",
        "",
    ]
    assert unwrapper.finish() == ""


def test_text_that_is_no_json_is_given_as_soon_as_that_is_clear() -> None:
    unwrapper = Unwrapper()
    assert [unwrapper.feed(piece) for piece in (" ", "*** Begin", " Patch")] == ["", " *** Begin", " Patch"]


def test_the_schema_asks_for_exactly_one_string() -> None:
    assert msgspec.json.decode(SCHEMA) == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    }


def _fed(pieces: list[str]) -> str:
    unwrapper = Unwrapper()
    return "".join([unwrapper.feed(piece) for piece in pieces] + [unwrapper.finish()])
