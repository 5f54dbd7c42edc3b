"""Helpers that the tests of all dialects share: reading and writing through one dialect's codec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from plano.conversation import Conversation, Event, PartStart, PartStop, Reply
from plano.dialects import Codec
from plano.frames import sse
from plano.losses import Losses
from plano.translation.assembly import ReplyBuilder

GOLDEN_FILES = Path(__file__).parent

NOTHING_ASKED = Conversation()


def case_id(value: object) -> str:
    """The value as text, for the id of a parametrized test: without addresses, so that every process has the same."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def read_request(codec: Codec, body: Any) -> Conversation:
    """The conversation in `body`, any value that JSON can hold.

    Its dialect is taken out, because the conversations that tests compare it with have none.
    """
    return msgspec.structs.replace(codec.read_request(msgspec.json.encode(body)), dialect=None)


def write_request(codec: Codec, conversation: Conversation) -> tuple[Any, dict[str, str]]:
    """The body, parsed, and the reason of each loss by its field."""
    losses = Losses()
    body = json.loads(codec.write_request(conversation, losses))
    return body, {loss.field: loss.reason for loss in losses}


def write_reply(codec: Codec, reply: Reply, asked: Conversation = NOTHING_ASKED) -> tuple[Any, list[str]]:
    """The body, parsed, and the fields that were lost, in their order."""
    losses = Losses()
    body = json.loads(codec.write_reply(reply, asked, losses))
    return body, [loss.field for loss in losses]


def read_stream(codec: Codec, pieces: Iterable[bytes]) -> list[Event]:
    """The events in a stream that is cut into pieces anywhere."""
    splitter, reader = sse.Splitter(), codec.stream_reader()
    events = [event for piece in pieces for frame in splitter.feed(piece) for event in reader.feed(frame)]
    events += [event for frame in splitter.finish() for event in reader.feed(frame)]
    return events + reader.finish()


def write_stream(codec: Codec, events: Iterable[Event], asked: Conversation = NOTHING_ASKED) -> bytes:
    """The whole stream that a client gets."""
    writer = codec.stream_writer(asked)
    return b"".join([frame for event in events for frame in writer.feed(event)] + writer.finish())


def built(events: Iterable[Event]) -> Reply:
    """The reply that the events build, held to the grammar: each part starts once and stops once, and grows only
    in between."""
    builder = ReplyBuilder()
    started: list[int] = []
    stopped: list[int] = []
    for event in events:
        if isinstance(event, PartStart):
            started.append(event.index)
        elif isinstance(event, PartStop):
            stopped.append(event.index)
        elif hasattr(event, "index"):
            assert event.index in started
            assert event.index not in stopped
        builder.feed(event)
    assert started == list(range(len(started)))
    assert sorted(stopped) == started
    return builder.reply()
