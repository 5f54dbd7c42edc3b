"""Custom tools, which take free text, for APIs whose tools take only JSON.

A custom tool becomes a function tool with one string argument, `input`. On the way back the text is taken out of the
JSON again, also while it streams. `unwrap(wrap(text)) == text` for every text.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Raw

from plano.dialects import reading

SCHEMA = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
"""The JSON schema of the function that stands in for a custom tool."""

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_HEAD_SO_FAR = re.compile(r'\s*(?:\{\s*(?:"(?:i(?:n(?:p(?:u(?:t(?:"\s*(?::\s*)?)?)?)?)?)?)?)?)?')
_LONGEST_HEAD = 256
"""The most characters of a head, which has 10 and some blanks; longer arguments without one have none."""

_PLAIN_TEXT = re.compile(r'[^"\\]*')
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[^u]|u(?![0-9a-fA-F]{0,3}\Z))", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_REPLACEMENT = "\ufffd"


class _Wrapped(msgspec.Struct):
    input: str


_WRAPPED = msgspec.json.Decoder(_Wrapped)


def wrap(text: str) -> str:
    """The arguments, for the function that stands in for a custom tool, that hold `text`."""
    return msgspec.json.encode(_Wrapped(text)).decode()


def unwrap(arguments: str) -> str:
    """The text inside `{"input": "..."}`, also if that was cut short; any other `arguments` as they are."""
    unwrapper = Unwrapper()
    return unwrapper.feed(arguments) + unwrapper.finish()


class Unwrapper:
    """`unwrap` for arguments that come in pieces, cut anywhere; text is given as soon as it is known.

    Only an object that does not begin with `input` is held until its end. Broken escapes are passed on as they
    are, and half a surrogate pair becomes U+FFFD: a model wrote this, and the client should see it.
    """

    __slots__ = ("_held", "_high", "_pending", "_state")

    def __init__(self) -> None:
        self._state: Literal["head", "string", "raw", "object", "over"] = "head"
        self._pending = ""  # a head or an escape that is not whole yet
        self._high = 0  # the first half of a surrogate pair
        self._held: list[str] = []

    def feed(self, piece: str) -> str:
        """The text that is known after one more piece of the arguments."""
        if self._state == "string":
            return self._string(piece)
        if self._state == "head":
            return self._begin(piece)
        if self._state == "object":
            self._held.append(piece)
        return piece if self._state == "raw" else ""

    def finish(self) -> str:
        """The text that was still held back."""
        if self._state == "object":
            return _input_of("".join(self._held))
        if self._state == "over":
            return ""
        rest, self._pending = self._pending, ""
        return self._half() + rest

    def _begin(self, piece: str) -> str:
        """Look for the head, `{"input":"`, and decide what the arguments are."""
        head = self._pending + piece
        found = _HEAD.match(head)
        if found is not None:
            self._state, self._pending = "string", ""
            return self._string(head[found.end() :])
        if len(head) <= _LONGEST_HEAD and _HEAD_SO_FAR.fullmatch(head):
            self._pending = head
            return ""
        self._pending = ""
        if head.lstrip().startswith("{"):
            self._state = "object"
            self._held.append(head)
            return ""
        self._state = "raw"
        return head

    def _string(self, piece: str) -> str:
        """The text in a piece of the JSON string, its escapes undone."""
        text = self._pending + piece
        self._pending = ""
        out: list[str] = []
        at = 0
        while at < len(text):
            plain = _PLAIN_TEXT.match(text, at)
            assert plain is not None, "the pattern matches the empty string too"
            if plain.end() > at:
                out += (self._half(), plain.group())
                at = plain.end()
            if at == len(text):
                break
            if text[at] == '"':
                self._state = "over"
                out.append(self._half())
                break
            escape = _ESCAPE.match(text, at)
            if escape is None:
                self._pending = text[at:]
                break
            out.append(self._unescape(escape.group()))
            at = escape.end()
        return "".join(out)

    def _unescape(self, escape: str) -> str:
        """The text of one escape; half a surrogate pair waits for the other half."""
        if len(escape) < 6:
            letter = escape[1]
            return self._half() + (_SIMPLE_ESCAPES.get(letter) or (letter if letter in '"\\/' else escape))
        code = int(escape[2:], 16)
        if 0xDC00 <= code < 0xE000 and self._high:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00))
        before = self._half()
        if 0xD800 <= code < 0xDC00:
            self._high = code
            return before
        return before + (_REPLACEMENT if 0xDC00 <= code < 0xE000 else chr(code))

    def _half(self) -> str:
        """U+FFFD if half a surrogate pair waits, whose other half has not come; else nothing."""
        if not self._high:
            return ""
        self._high = 0
        return _REPLACEMENT


def _input_of(arguments: str) -> str:
    """The text in whole arguments whose head is not the usual one."""
    wrapped = reading.maybe(_WRAPPED, arguments)
    return arguments if wrapped is None else wrapped.input
