"""Hostile values in every place of a reply: each is read, or is the upstream's fault, and never plano's."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

import plano
from plano.conversation import Conversation
from plano.dialects import CODECS, messages
from plano.errors import UpstreamError, UpstreamProtocolError
from plano.frames import sse
from plano.translation.translate import Translator
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.mutations import deepest
from tests.test_fuzz import STREAMED, WHOLE

PLACE = "the place"
HOSTILE = {
    "no UTF-8": b'"\xff"',
    "a lone surrogate": b'"\\ud800"',
    "no UTF-8 in a name": b'{"type":"x","\xff":1}',
    "a lone surrogate as a name": b'[{"\\udc00":1}]',
    "deep": b"[" * 5000 + b"]" * 5000,
    "a huge number": b"1e999",
    "a long number": b"9" * 400,
    "an object": b"{}",
    "a list": b"[[1]]",
    "less than nothing": b"-1.5",
}

Path_ = tuple[str, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """The document with each value in turn replaced, each field renamed, and fields that nobody knows."""
    yield path, PLACE
    if isinstance(value, dict):
        yield (*path, "+"), {**value, "unknown": PLACE}
        for name, inner in value.items():
            yield (*path, name, "~"), {key: item for key, item in value.items() if key != name} | {"renamed": PLACE}
            for found, changed in places(inner, (*path, name)):
                yield found, {**value, name: changed}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            of = str(inner.get("type", "")) if isinstance(inner, dict) else ""
            for found, changed in places(inner, (*path, of)):
                yield found, [*value[:at], changed, *value[at + 1 :]]


def written(document: Any, hostile: bytes) -> bytes:
    return json.dumps(document).encode().replace(json.dumps(PLACE).encode(), hostile)


def once(found: Iterator[tuple[Path_, Any]], seen: set[Path_]) -> Iterator[Any]:
    """The first of all places that differ only in their positions in lists."""
    for path, document in found:
        if path not in seen:
            seen.add(path)
            yield document


def translator(upstream: Dialect, client: Dialect) -> Translator:
    return Translator(upstream, client, Conversation(model="m"), fallback_id="1", now=1)


FAILED: dict[str, Any] = {"message": "m", "type": "server_error", "code": "c", "param": "p", "status": 429}
ERRORS = [
    {"type": "error", "error": FAILED | {"details": {"error_code": "x"}}},
    {"error": FAILED},
    [{"error": FAILED}],
    {"object": "error", **FAILED},
    {"type": "error", **FAILED},
    {"choices": [{"index": 0, "message": {"content": "a"}, "error": FAILED}]},
    {"choices": [{"index": 0, "delta": {"content": "a"}, "error": FAILED}]},
    {"type": "response.failed", "response": {"status": "failed", "output": [], "error": FAILED}},
    {"id": "1", "status": "failed", "output": [], "error": FAILED},
    {"detail": "d"},
    {"message": "m"},
]


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_a_reply_is_read_or_it_is_the_upstreams_fault(upstream: Dialect, hostile: bytes) -> None:
    codec = CODECS[upstream]
    for whole in (WHOLE[upstream], *ERRORS):
        for document in once(places(whole), set()):
            body = written(document, hostile)
            for client in DIALECTS:
                with suppress(UpstreamError):
                    translator(upstream, client).reply(body)
            with suppress(UpstreamError):
                translator(upstream, upstream).stream_of(body)
            codec.peek_usage(body)
            codec.read_error(500, body)


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_an_event_is_read_or_it_is_the_upstreams_fault(upstream: Dialect, hostile: bytes) -> None:
    seen: set[Path_] = set()
    frames = sse.frames(STREAMED[upstream])
    for at, frame in enumerate(frames):
        if not frame.data.startswith(b"{"):
            continue
        whole = json.loads(frame.data)
        delta = whole.get("delta")
        kind = str(whole.get("type", "")), ",".join(delta) if isinstance(delta, dict) else ""
        for document in once(places(whole, kind), seen):
            _stream(upstream, frames[:at], sse.Frame(frame.event, written(document, hostile)), frames[at + 1 :])
    for error in ERRORS:
        for document in once(places(error, ("error", str(error))), seen):
            for name in (None, "error"):
                _stream(upstream, frames[:3], sse.Frame(name, written(document, hostile)), [])


CLIENTS = cycle(DIALECTS)
"""Client dialects take turns, because a wrong value is wrong for each of them and there are many places."""


def _stream(upstream: Dialect, before: list[sse.Frame], wrong: sse.Frame, after: list[sse.Frame]) -> None:
    pieces = [_piece(before), _piece([wrong]), _piece(after)]
    stream = translator(upstream, next(CLIENTS)).stream()
    with suppress(UpstreamError):
        for piece in pieces:
            stream.feed(piece)
        stream.finish()
    CODECS[upstream].peek_stream(pieces[1], [pieces[1]])
    CODECS[upstream].begins(wrong)
    CODECS[upstream].error_in(wrong)


def _piece(frames: list[sse.Frame]) -> bytes:
    return b"".join(sse.frame(frame.data, frame.event) for frame in frames)


UNKNOWN_BLOCK = b'{"type":"content_block_start","index":0,"content_block":{"type":"new_block","id":"x"}}'


@pytest.mark.parametrize("delta", [b'{"type":"new_delta","piece":"\xff"}', b'{"type":"new_delta","piece":1e999}'])
@pytest.mark.parametrize("block", [UNKNOWN_BLOCK, UNKNOWN_BLOCK.replace(b"new_block", b"text")], ids=["new", "text"])
def test_a_delta_that_nobody_knows_must_be_text_all_the_same(block: bytes, delta: bytes) -> None:
    reader = messages.stream_reader()
    reader.feed(sse.Frame(None, block))
    event = b'{"type":"content_block_delta","index":0,"delta":' + delta + b"}"
    if block is UNKNOWN_BLOCK or b"\xff" in delta:
        with pytest.raises(UpstreamProtocolError):
            reader.feed(sse.Frame(None, event))
    else:
        (unknown,) = reader.feed(sse.Frame(None, event))
        assert unknown.data == event  # type: ignore[union-attr]


@pytest.mark.parametrize("upstream", DIALECTS)
def test_what_is_nested_nearly_too_deeply_to_be_read_is_the_upstreams_fault(upstream: Dialect) -> None:
    """Calls and JSON share Python's recursion limit, so JSON that can be read at first may be too deep a few calls
    later."""
    limit = deepest()
    frames = [frame for frame in sse.frames(STREAMED[upstream]) if frame.data.startswith(b"{")]
    for levels in range(limit - 60, limit + 4, 3):
        deep = b"[" * levels + b"]" * levels
        for document in once(places(WHOLE[upstream]), set()):
            with suppress(UpstreamError):
                translator(upstream, "chat").reply(written(document, deep))
        for frame in frames[:4]:
            for document in once(places(json.loads(frame.data)), set()):
                stream = translator(upstream, "chat").stream()
                with suppress(UpstreamError):
                    stream.feed(_piece([*frames[:2], sse.Frame(frame.event, written(document, deep))]))
                    stream.finish()


# --- every place where something is decoded -------------------------------------------------------

ROOT = Path(plano.__file__).parent
SEARCHED = ("dialects", "observability/usage.py", "response.py", "streams", "translation", "upstream")
GUARDS = ("UNREADABLE", "UNFIT", "RecursionError")

GUARD = "it is the guard itself, or says what it raises"
OF_REQUESTS = "a part of a request, which was read as what it is before anything is written of it"
GUARDED = "of a reply or an event; the reader that calls it guards all that it calls"
CHECKED = "what it decodes was decoded before, into the same type"
OF_THE_CONFIGURATION = "it was written when the configuration was loaded"

EXCUSED: dict[str, str] = {
    "dialects/call_seals.py seal_of": OF_REQUESTS,
    "dialects/chat/thinking.py _close": GUARDED,
    "dialects/chat/write_content.py add_extras": OF_REQUESTS,
    "dialects/chat/write_request.py _write_rest": OF_REQUESTS,
    "dialects/messages/read_content.py _tool_use": OF_REQUESTS,
    "dialects/messages/read_request.py read_request": OF_REQUESTS,
    "dialects/messages/stream_reader.py _block_stop": GUARDED,
    "dialects/messages/stream_reader.py _joined": GUARDED,
    "dialects/messages/stream_reader.py add": GUARDED,
    "dialects/messages/stream_writer.py start": CHECKED,
    "dialects/messages/stream_writer.py text": CHECKED,
    "dialects/messages/usage.py add": GUARD,
    "dialects/messages/write_content.py _data_source": OF_REQUESTS,
    "dialects/messages/write_content.py _kept_source": OF_REQUESTS,
    "dialects/messages/write_request.py _write_choice": OF_REQUESTS,
    "dialects/messages/write_request.py _write_identity": OF_REQUESTS,
    "dialects/messages/write_request.py _write_output_config": OF_REQUESTS,
    "dialects/names.py _walk": OF_REQUESTS,
    "dialects/responses/reply.py own_extras": GUARDED,
    "dialects/responses/request.py _object": OF_REQUESTS,
    "dialects/responses/settings.py write_text": OF_REQUESTS,
    "dialects/responses/write_request.py _include": OF_REQUESTS,
    "translation/foreign.py _item": OF_REQUESTS,
    "upstream/defaults.py _flat": OF_THE_CONFIGURATION,
    "upstream/defaults.py _limit_in": OF_THE_CONFIGURATION,
    "upstream/send.py _body": OF_REQUESTS,
}
"""The functions that may decode without a guard around it, and the reason."""


def unguarded(path: Path) -> Iterator[str]:
    """The functions that decode without a guard around it."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any(
            guard in ast.unparse(handler.type)
            for handler in node.handlers
            if handler.type is not None
            for guard in GUARDS
        )
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr == "decode"
                    and id(node) not in guarded
                    and not any(isinstance(arg, ast.Constant) for arg in node.args)  # `decode("latin-1")`
                    and not ast.unparse(node.func.value).startswith("msgspec.json.encode(")
                ):
                    yield function.name


def test_all_that_is_decoded_of_what_came_from_outside_is_guarded() -> None:
    found = set()
    for name in SEARCHED:
        for file in [ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"):
            found |= {f"{file.relative_to(ROOT).as_posix()} {function}" for function in unguarded(file)}
    assert found == set(EXCUSED)
