from __future__ import annotations

import json

import pytest

from plano.dialects import names
from plano.errors import InvalidRequest

KNOWN = frozenset({"model", "stream", "max_tokens"})

REFUSED = [
    ('{"model":"a","model":"b"}', "model"),
    ('{"model":"a","model":"a"}', "model"),
    ('{"model":"long","x":1,"model":"b"}', "model"),
    ('{"model":"b","x":1,"model":"long"}', "model"),
    ('{"model": "a", "mod\\u0065l": "b"}', "model"),
    ('{"other":1,"other":12}', "other"),
    ('{"other":12,"other":1}', "other"),
    ('{"":1,"":2}', ""),
    ('{"x":{"a":1,"model":2},"model":1,"x":{}}', "x"),
    ('{"Model":"a"}', "model"),
    ('{"model":"a","Model":"b"}', "model"),
    ('{"MAX_TOKENS":1}', "max_tokens"),
    ('{"m\\u004fdel":1}', "model"),
    ('{"\u017ftream":true}', "stream"),
    ('{"max_to\u212aens":1}', "max_tokens"),
    ('{"\uff4dodel":1}', "model"),
    ('{"\\uff4dodel":1}', "model"),
    # Made so that a reader who trusts the last value's length lands on what looks like the next member.
    ('{"a":1,"x":{"y":1,"x":2},"a":{"z":0}}', "a"),
    ('{"a": {"z":0}, "x": {"y": 1, "x": 2}, "a": 1}', "a"),
]


@pytest.mark.parametrize(("body", "param"), REFUSED)
def test_what_two_readers_could_take_differently_is_refused(body: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        names.read(body.encode(), KNOWN)
    assert caught.value.param == param
    with pytest.raises(InvalidRequest) as caught:
        names.read(body.encode(), KNOWN, "outer.")
    assert caught.value.param == f"outer.{param}"


TAKEN = [
    "{}",
    " { } ",
    '{"model":"a"}',
    '{"model":"a","messages":[{"model":"b","model":"c"},{"Model":1}]}',
    '{"model": "a", "tools": [{"properties": {"model": {}, "Stream": {}}}]}',
    '{"text":"\\"model\\":1,\\"model\\":2"}',
    '{\n\t"model" :\r\n "a" ,"stream":true\n}\n',
    '{"Temperature":1,"TEMPERATURE":2}',
    '{"100%":1, "model": "%b"}',
    '{"a\\"b":1,"a\\\\":2,"":3,"\u00e9":"\u00e9","\\ud83d\\ude00":4}',
    '{"x":12,"y":1}',
]


@pytest.mark.parametrize("body", TAKEN)
def test_what_all_readers_take_alike_is_read(body: str) -> None:
    for written in (body, json.dumps(json.loads(body)), json.dumps(json.loads(body), separators=(",", ":"))):
        fields = names.read(written.encode(), KNOWN)
        assert {name: json.loads(bytes(value)) for name, value in fields.items()} == json.loads(written)


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        ('{"model":"\\u0061"}', True),
        ('{ "model" : 1}', True),
        ('{"mod\\u0065l":1}', False),
        ('{"a":1, "b\\"":2}', False),
        ('{"\u00e9":1}', True),
    ],
)
def test_names_with_escapes_are_told_from_plain_ones(body: str, plain: bool) -> None:
    fields = names.read(body.encode(), KNOWN)
    assert names.judge(body.encode(), fields, KNOWN) is plain
