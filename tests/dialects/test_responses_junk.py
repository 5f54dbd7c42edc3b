"""Junk in every place of a request, a reply and a stream: it is read, or raises an error that blames its writer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from plano.dialects import responses
from plano.errors import InvalidRequest, UpstreamError
from plano.frames import sse
from plano.losses import Losses
from tests.dialects.support import GOLDEN_FILES

REQUEST = json.loads((GOLDEN_FILES / "rich_request.responses.json").read_bytes())
REPLY = json.loads((GOLDEN_FILES / "rich_reply.responses.json").read_bytes())
EVENTS = [json.loads(frame.data) for frame in sse.frames((GOLDEN_FILES / "rich_reply.responses.sse").read_bytes())]

JUNK: list[Any] = [None, 7, -1.5, "x", "", True, [], {}, [None], [[]], [{}], {"type": "x"}, {"type": 1}]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_a_request_with_junk_is_the_clients_fault(junk: Any) -> None:
    params: list[str | None] = []
    for body in _with_junk(REQUEST, junk):
        try:
            conversation = responses.read_request(body)
        except InvalidRequest as error:
            params.append(error.param)
            continue
        json.loads(responses.write_request(conversation, Losses()))
    assert params
    assert all(params)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_a_reply_with_junk_is_the_upstreams_fault(junk: Any) -> None:
    asked = responses.read_request(b'{"input":"hi"}')
    for body in _with_junk(REPLY, junk):
        responses.peek_usage(body)
        responses.peek_stream(body, [sse.frame(body)])
        responses.reply_texts(json.loads(body))
        try:
            reply = responses.read_reply(body)
        except UpstreamError:
            continue
        assert isinstance(json.loads(responses.write_reply(reply, asked, Losses())), dict)


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_an_event_with_junk_is_the_upstreams_fault(junk: Any) -> None:
    asked = responses.read_request(b'{"input":"hi"}')
    for number, event in enumerate(EVENTS):
        for body in _with_junk(event, junk):
            responses.event_texts(json.loads(body))
            reader, writer = responses.stream_reader(), responses.stream_writer(asked)
            frames = [sse.Frame(None, json.dumps(other).encode()) for other in EVENTS]
            frames[number] = sse.Frame(None, body)
            try:
                steps = [step for frame in frames[max(0, number - 3) : number + 3] for step in reader.feed(frame)]
            except UpstreamError:
                continue
            for step in [*steps, *reader.finish()]:
                for written in writer.feed(step):
                    assert written.endswith(b"\n\n")


def _with_junk(whole: dict[str, Any], junk: Any) -> Iterator[bytes]:
    """The object once for each place in it, with junk there."""
    for path in _paths(whole):
        changed = copy.deepcopy(whole)
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = junk
        yield json.dumps(changed).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _paths(element, (*path, index))
