"""One request in many spellings: what is decided on is what goes up, whoever reads it.

Names and texts are written with escapes, in other cases, twice, in any order and with blanks. A request that passes is
read here as three kinds of servers would: one that keeps the first of two equal names, one that keeps the last, and one
that takes names in another case for equal, as Go's does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeAlias
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano import Plano
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.filters.talk import PATHS

Pairs: TypeAlias = list[tuple[str, Any]]
Member: TypeAlias = tuple[str, str, str]
"""A name, how it is spelled, and the value as JSON."""

KEYS: list[dict[str, Any]] = [
    {"name": name, "key": f"sk-{name}-0123456789abcdef", "models": [f"{dialect}_server/m" for dialect in DIALECTS]}
    for name in "ab"
]
KEY = {"x-api-key": KEYS[0]["key"]}


def gateway(provider: FakeProvider) -> Plano:
    entries = [
        {
            "model": f"{name}_server/m",
            "provider_interface": "openai",
            "base_url": f"https://{name}.example/v1",
            "apis": [dialect],
            "access_key": "sk-upstream",
        }
        for name, dialect in [*((dialect, dialect) for dialect in DIALECTS), ("other", "responses")]
    ]
    config = {"model_providers": entries, "auth": {"keys": KEYS}, "metrics": {"stream_usage": True}}
    return Plano(config, transport=provider)


# --- three readers --------------------------------------------------------------------------------


def fold(name: str) -> str:
    return normalize("NFKC", normalize("NFKC", name).casefold())


def first_wins(pairs: Pairs) -> dict[str, Any]:
    return dict(reversed(pairs))


def last_wins(pairs: Pairs) -> dict[str, Any]:
    return dict(pairs)


def any_case(pairs: Pairs) -> dict[str, Any]:
    return {fold(name): value for name, value in pairs}


def readings(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(body, object_pairs_hook=reader) for reader in (first_wins, last_wins, any_case)]


# --- spellings ------------------------------------------------------------------------------------

LOOKALIKES = {"s": "\u017f", "k": "\u212a", "m": "\uff4d", "i": "\u2148"}


def escaped(text: str, place: int) -> str:
    place %= len(text)
    return f"{text[:place]}\\u{ord(text[place]):04x}{text[place + 1 :]}"


SPELLINGS: list[Callable[[str], str]] = [
    *[lambda name: name] * 6,
    lambda name: escaped(name, 0),
    lambda name: escaped(name, 3),
    str.upper,
    str.title,
    lambda name: escaped(name.upper(), 1),
    lambda name: "".join(LOOKALIKES.get(letter, letter) for letter in name),
]

BLANKS = st.sampled_from(["", "", "", " ", "\n\t ", "  "])


def members(fields: dict[str, list[str]]) -> st.SearchStrategy[list[Member]]:
    """Some of the fields, each with one of its values and in some spelling; several may be of one field."""

    def spelled(name: str) -> st.SearchStrategy[Member]:
        spellings = st.sampled_from(SPELLINGS).map(lambda spell: spell(name))
        return st.tuples(st.just(name), spellings, st.sampled_from(fields[name]))

    return st.lists(st.sampled_from(sorted(fields)).flatmap(spelled), max_size=3)


@st.composite
def written(draw: st.DrawFn, always: list[Member], some: st.SearchStrategy[list[Member]]) -> tuple[str, bool]:
    """An object, and whether every reader takes its names for the same."""
    chosen = draw(st.permutations([*always, *draw(some)]))
    blank = lambda: draw(BLANKS)  # noqa: E731
    said = [f'{blank()}"{spelled}"{blank()}:{blank()}{value}{blank()}' for _, spelled, value in chosen]
    names = [json.loads(f'"{spelled}"') for _, spelled, _ in chosen]
    clear = len(set(names)) == len(names) and names == [name for name, _, _ in chosen]
    return "{" + ",".join(said) + "}", clear


def plain(**fields: Any) -> list[Member]:
    return [(name, name, json.dumps(value)) for name, value in fields.items()]


ITEM = {
    "id": ['"msg_theirs"', "null"],
    "type": ['"message"', '"item_reference"', '"item\\u005freference"', '"mcp_approval_response"'],
    "role": ['"user"'],
    "content": ['"Hi"', '"\\"id\\": 1, \\"id\\": 2, \\"model\\": \\"other\\""'],
    "approval_request_id": ['"msg_theirs"'],
    "container_id": ['"msg_theirs"'],
}

ASKED: dict[Dialect, dict[str, list[str]]] = {
    "chat": {
        "stream": ["true", "false"],
        "store": ["true", "false", "null"],
        "stream_options": ['{"include_usage":true}', '{"include_usage":false}', '{"Include_Usage":true}'],
        "metadata": [
            "{}",
            '{"model":"other_server/m"}',
            '{"response_id":"a","response_id":"b"}',
            '{"Response_id":"a"}',
        ],
        "tools": ['[{"type":"function","function":{"name":"f","parameters":{"properties":{"model":{},"Model":{}}}}}]'],
    },
    "messages": {"stream": ["true", "false"], "metadata": ["{}", '{"user_id":"model"}'], "top_k": ["1"]},
    "responses": {
        "stream": ["true", "false"],
        "store": ["true", "false", "null"],
        "previous_response_id": ["null", '""'],
        "conversation": ["null", '{"id":"a","id":"b"}', '{"ID":"a"}'],
        "metadata": ["{}", '{"Previous_Response_id":"a"}'],
    },
}
"""What is asked beside the model and the words. A nested object with two readings makes the whole request one."""

TWO_READINGS = ('{"response_id":"a","response_id"', '{"Response_id"', '{"id":"a","id"', '{"ID"')

WORDS: dict[Dialect, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": 'Say "model": "x"'}]},
    "messages": {"messages": [{"role": "user", "content": 'Say "model": "x"'}], "max_tokens": 9},
    "responses": {"input": [{"role": "user", "content": 'Say "model": "x"'}]},
}


def asking(dialect: Dialect) -> st.SearchStrategy[tuple[str, bool]]:
    fields = ASKED[dialect] | {"model": [f'"{dialect}_server/m"', '"other_server/m"']}
    return written(plain(model=f"{dialect}_server/m", **WORDS[dialect]), members(fields))


def has_two_readings(body: str) -> bool:
    usage = '"Include_Usage"' in body and json.loads(body).get("stream") is True  # which it is for alone
    return usage or any(words in body for words in TWO_READINGS)


async def stored(app: Plano, dialect: Dialect, answer: Answer) -> bool:
    words = answer.body.decode().replace("data: ", "\n")
    start = min(at for prefix in ('"resp_', '"chatcmpl-') if (at := words.find(prefix)) >= 0) + 1
    id_ = words[start : words.index('"', start)]
    return (await ask(app, "GET", f"{PATHS[dialect]}/{id_}", b"", KEY)).status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_decided_on_is_what_every_reader_finds(dialect: Dialect) -> None:
    @settings(max_examples=200)
    @given(asking(dialect))
    def check(asked: tuple[str, bool]) -> None:
        asyncio.run(steps(*asked))

    async def steps(body: str, clear: bool) -> None:
        provider = FakeProvider()
        app = gateway(provider)
        answer = await ask(app, "POST", PATHS[dialect], body.encode(), KEY)
        assert answer.status == (200 if clear and not has_two_readings(body) else 400), answer.body
        assert len(provider.requests) == (answer.status == 200)
        for said in [reading for recorded in provider.requests for reading in readings(recorded.body)]:
            assert said["model"] == "m"
            assert bool(said.get("stream")) == answer.headers["content-type"].startswith("text/event-stream")
            assert "previous_response_id" not in said or not said["previous_response_id"]
            assert not isinstance(said.get("metadata"), dict) or "response_id" not in said["metadata"]
            if dialect == "chat" and said.get("stream"):
                assert said["stream_options"]["include_usage"] is True
            if dialect != "messages":
                assert await stored(app, dialect, answer) == (said.get("store") is not False)
        await app.aclose()

    check()


def test_no_reader_finds_an_item_that_this_history_was_not_handed_out() -> None:
    @settings(max_examples=400)
    @given(written([], members(ITEM)), st.booleans())
    def check(item: tuple[str, bool], first: bool) -> None:
        asyncio.run(steps(*item, first))

    async def steps(item: str, clear: bool, first: bool) -> None:
        provider = FakeProvider()
        app = gateway(provider)
        other = '{"role":"user","content":"Hi"}'
        items = f"{item},{other}" if first else f"{other},{item}"
        answer = await ask(
            app, "POST", PATHS["responses"], f'{{"model":"responses_server/m","input":[{items}]}}'.encode(), KEY
        )
        for recorded in provider.requests:
            assert b"msg_theirs" not in recorded.body
            assert all(each.get("id") is None for said in readings(recorded.body) for each in said["input"])
        if not clear or "msg_theirs" in item:
            assert answer.status in (200, 400, 404)
        else:  # whether it is an item at all is the provider's to say
            assert len(provider.requests) == 1
        meant = json.loads(item)
        if clear and meant.keys() <= {"id", "type", "role", "content"} and "role" in meant and "content" in meant:
            assert answer.status == (404 if meant.get("type") == "item_reference" and meant.get("id") else 200)
        await app.aclose()

    check()
