"""The tokens of a finished request, as the upstream reported them, or estimated."""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import Any, Literal

import msgspec

from plano.attempt import NOT_ASKED, Attempt
from plano.conversation import Usage
from plano.dialects import CODECS
from plano.frames import sse
from plano.operations import OPERATIONS
from plano.request import Request
from plano.response import Response
from plano.translation.estimate import BASE64_BYTES_PER_TOKEN, BYTES_PER_TOKEN, PER_MESSAGE

_OUTPUT: tuple[Literal["output"]] = ("output",)
_BOTH: tuple[Literal["input"], Literal["output"]] = ("input", "output")

_READ = 32 * 1024
"""The longest request, in bytes, that is read for an estimate. A longer one is only searched for files."""

_LOOKED_AT = 256 * 1024
"""The bytes that are searched for files; a request longer than that is long because of files."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{256,}")

_TEXTS = frozenset[str]().union(*(codec.spoken_fields for codec in CODECS.values()))
"""The fields, of all dialects, that hold texts of users and models."""


def settle_usage(request: Request, response: Response | None) -> None:
    """Bring the `usage` of a request's answer to its final state. To call this again changes nothing.

    A request whose reply never began used no tokens, unless the client left while the model worked: then its input is
    estimated. The output of a stream that was cut off is estimated from the part that came.
    """
    attempt, outcome = request.journal.answer, request.journal.outcome
    operation = OPERATIONS[request.operation]
    if attempt is NOT_ASKED or not operation.uses_tokens:
        return
    replied = response is not None and response.status < 400 and attempt.failure in _REPLIED
    if not replied and outcome != "aborted":
        return
    said = _said(attempt) if replied else None
    if said is None:
        output = _output(attempt, response) if operation.replies else 0
        attempt.usage = Usage(input_tokens=estimate_input(request.raw), output_tokens=output, estimated=_BOTH)
    elif outcome != "completed" and not said.estimated and _is_first_word(attempt):
        output = max(said.output_tokens, _streamed(attempt))
        attempt.usage = msgspec.structs.replace(said, output_tokens=output, estimated=_OUTPUT)
    else:
        attempt.usage = said


_REPLIED = (None, "broken_stream", "content_filter")
"""The failures, or None for none, of an attempt whose reply began."""


def estimate_input(body: bytes) -> int:
    """Tokens of a request in any dialect, estimated from the size of its texts. Only a part of a long one is read."""
    if len(body) <= _READ:
        asked = _parsed(body)
        if isinstance(asked, dict):
            turns = asked.get("messages") or asked.get("input")
            size = _length(asked) + _encoded(asked.get("tools") or ())
            return max(1, size // BYTES_PER_TOKEN + PER_MESSAGE * (len(turns) if isinstance(turns, list) else 1))
    text = _BASE64.sub(b"", body[:_LOOKED_AT])
    return max(1, len(text) // BYTES_PER_TOKEN + (len(body) - len(text)) // BASE64_BYTES_PER_TOKEN)


def tokens_in(piece: bytes) -> int:
    """Output tokens in whole frames of a stream in any dialect, estimated; at least one for each frame with text."""
    return sum(max(1, said // BYTES_PER_TOKEN) for block in sse.cut(piece) if (said := _said_in(block)))


def _said(attempt: Attempt) -> Usage | None:
    """The usage that the upstream reported. Some upstreams report zeros when they do not know, so zeros are none."""
    usage = attempt.said()
    return usage if usage is not None and (usage.input_tokens or usage.output_tokens) else None


def _is_first_word(attempt: Attempt) -> bool:
    """Whether the reported usage is only that of a stream's opening: all of the input, and a first count of output."""
    if attempt.first is None or attempt.dialect is None:
        return False
    return CODECS[attempt.dialect].peek_stream(attempt.first, attempt.last).opening


def _output(attempt: Attempt, response: Response | None) -> int:
    if attempt.first is not None:
        return _streamed(attempt)
    if response is None or response.body is None:
        return 0
    return -(-_length(_parsed(response.body)) // BYTES_PER_TOKEN)


def _streamed(attempt: Attempt) -> int:
    """Output tokens of a stream, estimated from the frames that were kept from its beginning and its end.

    To read every frame would cost as much as to translate the stream. Mostly all frames are equally long apart from
    their text, so the text of the others is their length without the rest. If not, because some upstreams pad their
    frames, each of the others is assumed to hold as much text as a kept one.
    """
    kept = list(attempt.last)
    if attempt.spoken is not None and not any(piece is attempt.spoken for piece in kept):
        kept.insert(0, attempt.spoken)
    frames = [(len(block), _said_in(block)) for piece in kept for block in sse.cut(piece)]
    frames = list(dropwhile(lambda frame: not frame[1], frames))  # the frames that open a stream were not counted
    speaking = [(length, said) for length, said in frames if said]
    if not speaking:
        return 0
    silent = [length for length, said in frames if not said]
    count = max(attempt.events - len(silent), len(speaking))
    around = [length - said for length, said in speaking]
    if max(around) - min(around) <= _MAX_DIFFERENCE:
        said = attempt.bytes_streamed - sum(silent) - count * sum(around) / len(around)
    else:
        said = count * sum(said for _, said in speaking) / len(speaking)
    return max(1, round(said / BYTES_PER_TOKEN))


_MAX_DIFFERENCE = 4
"""The most bytes by which equally long frames differ: a digit more in a position, an escape in a text."""


def _said_in(block: bytes) -> int:
    """Bytes of the model's text in one frame."""
    for frame in sse.frames(block):
        event = _parsed(frame.data)
        if isinstance(event, dict) and "response" not in event and not str(event.get("type")).endswith(".done"):
            return _length(event)  # the other events repeat earlier text
    return 0


def _length(value: Any, key: str = "", depth: int = 64) -> int:
    """Bytes of the texts in a request, a reply or an event; values nested more than `depth` deep are left out."""
    if depth == 0:
        return 0
    if isinstance(value, str):
        return len(value.encode()) if key in _TEXTS else 0
    length = 0  # loops take half the time of `sum` over generators
    if isinstance(value, list):
        for item in value:
            length += _length(item, key, depth - 1)
    elif isinstance(value, dict):
        if key == "input":  # a tool's arguments, in the dialect that has them as an object
            return _encoded(value)
        for name, child in value.items():
            if name != "tools":
                length += _length(child, name, depth - 1)
    return length


def _encoded(value: Any) -> int:
    try:
        return len(msgspec.json.encode(value))
    except RecursionError:
        return 0


def _parsed(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
