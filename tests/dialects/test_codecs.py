"""Every dialect through every verb, and no fact of a dialect outside of its folder."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

import pytest

from plano.conversation import Conversation, Failed
from plano.dialects import CLIENT_CODECS, CODECS, ClientCodec, Codec, UpstreamCodec, client_codec
from plano.dialects.codec import Gauge
from plano.dialects.fields import NULL
from plano.errors import UpstreamProtocolError, UpstreamStatus
from plano.frames import sse
from plano.losses import Losses
from plano.types import CLIENT_DIALECTS, UPSTREAM_DIALECTS, ClientDialect, UpstreamDialect
from tests.test_fuzz import PORTABLE, STREAMED, WHOLE, dumps
from tests.test_layers import modules, tree_of

ASKED = Conversation(model="m")
ERROR = UpstreamProtocolError("It broke.")


def verbs(protocol: type) -> set[str]:
    return {name for name in dir(protocol) if not name.startswith("_")}


def test_every_dialect_has_a_codec_of_its_name() -> None:
    assert tuple(CLIENT_CODECS) == CLIENT_DIALECTS
    assert tuple(CODECS) == UPSTREAM_DIALECTS
    assert all(codec.name == dialect for dialect, codec in (*CLIENT_CODECS.items(), *CODECS.items()))


def test_a_codec_for_both_sides_has_the_verbs_of_both() -> None:
    assert verbs(Codec) == verbs(ClientCodec) | verbs(UpstreamCodec)
    assert verbs(ClientCodec) & verbs(UpstreamCodec) == {"name"}


@pytest.mark.parametrize("dialect", UPSTREAM_DIALECTS)
def test_every_upstream_verb_works(dialect: UpstreamDialect) -> None:
    codec, whole, streamed = CODECS[dialect], dumps(WHOLE[dialect]), STREAMED[dialect]
    reader = codec.stream_reader()
    frames = sse.frames(streamed)
    used: dict[str, Any] = {
        "name": codec.name,
        "conventions": codec.conventions.endpoint.path,
        "spoken_fields": "text" in codec.spoken_fields,
        "write_request": codec.write_request(ASKED, Losses()),
        "read_reply": codec.read_reply(whole).parts,
        "stream_reader": [*(event for frame in frames for event in reader.feed(frame)), *reader.finish()],
        "read_error": codec.read_error(429, b'{"error":{"message":"m"}}').status == 429,
        "look": codec.look(whole).found,
        "peek_usage": codec.peek_usage(whole),
        "usage_of": codec.usage_of(codec.look(whole).usage),
        "peek_stream": codec.peek_stream(streamed, [streamed]).complete,
        "begins": any(map(codec.begins, frames)),
        "error_in": codec.error_in(sse.Frame("error", b'{"error":{"message":"m"}}')),
        "speaks": codec.speaks(streamed) >= 0,
    }
    assert set(used) == verbs(UpstreamCodec)
    assert all(used.values()), used
    assert not any(isinstance(event, Failed) for event in used["stream_reader"])


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
def test_every_client_verb_works(dialect: ClientDialect) -> None:
    codec = CLIENT_CODECS[dialect]
    reply = codec.read_reply(dumps(WHOLE[dialect]))
    used: dict[str, Any] = {
        "name": codec.name,
        "read_request": codec.read_request(dumps(PORTABLE[dialect])).messages,
        "hands_back": codec.hands_back(b'{"signature":"plano-seal.chat.-.x"}'),
        "mark_seals": codec.mark_seals(STREAMED[dialect], b"mark"),
        "write_reply": codec.write_reply(reply, ASKED, Losses()),
        "stream_writer": codec.stream_writer(ASKED).feed(Failed(ERROR)),
        "renaming": codec.renaming is None or b"other" in codec.renaming.reply("other", dumps(WHOLE[dialect])),
        "status_of": codec.status_of(ERROR) == ERROR.status,
        "write_limits": codec.write_limits([Gauge("requests", 9, 8, 7.0)], 0.0),
        "write_error": b"It broke." in codec.write_error(ERROR, request_id="1"),
        "write_stream_error": codec.write_stream_error(ERROR, (STREAMED[dialect],)).endswith(b"\n\n"),
        "reply_texts": codec.reply_texts(WHOLE[dialect]),
        "event_texts": any(codec.event_texts(event) for event in parsed(STREAMED[dialect])),
    }
    assert set(used) == verbs(ClientCodec)
    assert all(used.values()), used
    assert not codec.hands_back(dumps(PORTABLE[dialect]))


def parsed(stream: bytes) -> Iterator[dict[str, Any]]:
    for frame in sse.frames(stream):
        if frame.data.startswith(b"{"):
            yield json.loads(frame.data)


def test_a_request_above_the_translation_is_in_a_dialect_that_clients_speak() -> None:
    with pytest.raises(AssertionError, match="no client speaks gemini"):
        client_codec("gemini")  # type: ignore[arg-type]


# --- the first look ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "body", "is_reply", "error"),
    [
        ("chat", b'{"choices":[]}', True, False),
        ("chat", b'{"choices":[{"error":{}}]}', True, True),
        ("chat", b'{"choices":null,"error":{}}', False, True),
        ("chat", b'{"content":[]}', False, False),
        ("messages", b'{"content":[{"error":1}]}', True, False),
        ("messages", b'{"content":[],"error":1}', True, True),
        ("responses", b'{"output":[],"error":null}', True, False),
        ("responses", b'{"output":[],"error":{}}', True, True),
    ],
)
def test_a_first_look_tells_a_reply_and_an_error(
    dialect: UpstreamDialect, body: bytes, is_reply: bool, error: bool
) -> None:
    look = CODECS[dialect].look(body)
    assert (look.found != NULL, look.may_say_error(body)) == (is_reply, error)


@pytest.mark.parametrize("dialect", UPSTREAM_DIALECTS)
def test_what_is_no_object_is_the_upstreams_fault(dialect: UpstreamDialect) -> None:
    with pytest.raises(UpstreamProtocolError):
        CODECS[dialect].look(b"[1]")
    assert isinstance(CODECS[dialect].read_error(500, b"[1]"), UpstreamStatus)


# --- facts of a dialect, elsewhere ------------------------------------------------------------------

EXCUSED = {
    "plano.operations": "where clients ask for each operation",
    "plano.providers": "the rows, and the quirks of one provider in one dialect",
    "plano.state": "stored replies and completions are of one API each, and become each other's history",
    "plano.filters.state": "previous_response_id is a field of one API, and stored completions are another's",
    "plano.filters.stream_usage": "only chat's streams have to be asked for their usage",
}


def tables(module: str) -> Iterator[str]:
    """Dict literals with a dialect among their keys, and comparisons with one."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Dict):
            found = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Compare):
            found = [node.left, *node.comparators]
        else:
            continue
        each = [
            one for key in found for one in (key.elts if isinstance(key, ast.Tuple | ast.Set | ast.List) else [key])
        ]
        if any(isinstance(one, ast.Constant) and one.value in UPSTREAM_DIALECTS for one in each):
            yield ast.unparse(node)


def excused(module: str) -> str | None:
    return next((name for name in EXCUSED if module == name or module.startswith(f"{name}.")), None)


@pytest.mark.parametrize(
    "module", [name for name in modules() if not name.startswith("plano.dialects") and excused(name) is None]
)
def test_nothing_outside_the_dialects_knows_one_by_name(module: str) -> None:
    assert list(tables(module)) == []


@pytest.mark.parametrize("name", EXCUSED)
def test_what_is_excused_needs_it(name: str) -> None:
    assert any(list(tables(module)) for module in modules() if excused(module) == name)
