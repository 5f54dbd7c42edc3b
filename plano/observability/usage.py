"""Tokens of a request that is over: what the upstream said, and an estimate where it said nothing."""

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
"""Bytes of a request that is read for an estimate. What is longer is only searched for the files in it."""

_LOOKED_AT = 256 * 1024
"""Bytes that are searched; what is longer than that is long because of files."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{256,}")

_TEXTS = frozenset[str]().union(*(codec.spoken_fields for codec in CODECS.values()))
"""The fields, in whatever dialect, that hold what is said."""


def settle(request: Request, response: Response | None) -> None:
    """Bring the `usage` of a request's answer to its final state. It does not matter how often this is called.

    Without a reply that was at least begun nothing was used, unless the client left while it was being made:
    its input is then estimated. Of a stream that was cut off, what came of it is.
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


_REPLIED = (None, "broken_stream")
"""How an attempt may have failed that a reply came of."""


def estimate_input(body: bytes) -> int:
    """Tokens of a request of any dialect, by the size of what is said in it. A long one is only looked at in part."""
    if len(body) <= _READ:
        asked = _parsed(body)
        if isinstance(asked, dict):
            turns = asked.get("messages") or asked.get("input")
            size = _length(asked) + _encoded(asked.get("tools") or ())
            return max(1, size // BYTES_PER_TOKEN + PER_MESSAGE * (len(turns) if isinstance(turns, list) else 1))
    text = _BASE64.sub(b"", body[:_LOOKED_AT])
    return max(1, len(text) // BYTES_PER_TOKEN + (len(body) - len(text)) // BASE64_BYTES_PER_TOKEN)


def _said(attempt: Attempt) -> Usage | None:
    """What the upstream said. All zeros is what some write who do not know."""
    usage = attempt.said()
    return usage if usage is not None and (usage.input_tokens or usage.output_tokens) else None


def _is_first_word(attempt: Attempt) -> bool:
    """Whether what was said is only what a stream opens with: all of its input, and a first count of its output."""
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
    """By what was said in the frames that were kept, at the stream's ends; reading all of them would cost as much
    as translating the stream.

    Where the rest of a frame is as long in all of them, as it mostly is, what was said in the others is their
    length without it. Where it is not (some pad their frames), they are taken to say as much as those kept.
    """
    kept = list(attempt.last)
    if attempt.spoken is not None and not any(piece is attempt.spoken for piece in kept):
        kept.insert(0, attempt.spoken)
    frames = [(len(block), _said_in(block)) for piece in kept for block in sse.cut(piece)]
    frames = list(dropwhile(lambda frame: not frame[1], frames))  # what opens a stream was not counted
    speaking = [(length, said) for length, said in frames if said]
    if not speaking:
        return 0
    silent = [length for length, said in frames if not said]
    count = max(attempt.events - len(silent), len(speaking))
    around = [length - said for length, said in speaking]
    if max(around) - min(around) <= _ALIKE:
        said = attempt.bytes_streamed - sum(silent) - count * sum(around) / len(around)
    else:
        said = count * sum(said for _, said in speaking) / len(speaking)
    return max(1, round(said / BYTES_PER_TOKEN))


_ALIKE = 4
"""Bytes by which frames differ that are alike: a digit more in a position, an escape in a text."""


def _said_in(block: bytes) -> int:
    """Bytes of what the model says in one frame."""
    for frame in sse.frames(block):
        event = _parsed(frame.data)
        if isinstance(event, dict) and "response" not in event and not str(event.get("type")).endswith(".done"):
            return _length(event)  # the others repeat what was said before
    return 0


def _length(value: Any, key: str = "", depth: int = 64) -> int:
    """Bytes of what is said in a request, a reply or an event; what is nested deeper than anybody speaks is not."""
    if depth == 0:
        return 0
    if isinstance(value, str):
        return len(value.encode()) if key in _TEXTS else 0
    if isinstance(value, list):
        return sum(_length(item, key, depth - 1) for item in value)
    if isinstance(value, dict):
        if key == "input":  # a tool's arguments, where the dialect has them as an object
            return _encoded(value)
        return sum(_length(child, name, depth - 1) for name, child in value.items() if name != "tools")
    return 0


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
