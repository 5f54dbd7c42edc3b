"""Reads and writes reasoning: `reasoning_content`, `reasoning` and `reasoning_details`, which OpenAI does not have.

DeepSeek's API reference names the text `reasoning_content`, and most servers follow; OpenRouter ("Reasoning
tokens", section "reasoning_details") and newer vLLM say `reasoning`. Seals and hidden reasoning travel in OpenRouter's
`reasoning_details`: a list of `reasoning.text` (with a `signature`), `reasoning.summary` and `reasoning.encrypted`,
each with the `format` of its vendor. All of these are read. The text is written as `reasoning_content`, and
each part that has a seal as one detail, with its text beside it.

In a request, `format` tells the details apart: a client hands back the details that were written for it here, and they
may carry another dialect's seal. In an upstream's own reply, all details together are one seal, in any formats: they go
back only to that upstream, which wants its list unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from plano.conversation import Extras, Part, RedactedThinking, Thinking
from plano.dialects import reading
from plano.dialects.fields import NULL, OBJECT, RAWS
from plano.types import Dialect

FORMATS: dict[str, Dialect] = {"anthropic-claude-v1": "messages", "openai-responses-v1": "responses"}
"""The dialect that a detail's seal belongs to in a request, by `format`. A detail of any other format belongs to the
chat upstream that it came from."""

FROM_CHAT: Extras = {"chat": {}}
"""Marks a part that was read from a chat body, where the neutral model cannot say that otherwise. It holds no field, so
it is never a loss."""

_CLAUDE = "anthropic-claude-v1"
_OPENAI = "openai-responses-v1"


class Detail(Struct):
    """One entry of `reasoning_details`."""

    type: str | None = None
    text: str | None = None
    summary: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None
    id: str | None = None
    index: Any = None

    @property
    def origin(self) -> Dialect:
        """The dialect that the entry's seal belongs to."""
        return FORMATS.get(self.format or "", "chat")

    @property
    def words(self) -> str:
        """The text or summary."""
        return self.text or self.summary or ""

    @property
    def redacts(self) -> bool:
        """Whether this is Anthropic's redacted thinking."""
        return self.origin == "messages" and self.type == "reasoning.encrypted"

    @property
    def plain(self) -> bool:
        """Whether it holds nothing but text, so that it does not have to go back."""
        return not self.signature and not self.data and self.type in _SPOKEN

    def continues(self, other: Detail) -> bool:
        """Whether this is more of the entry `other`. In a stream, an entry with text comes in pieces, and a signature
        ends it."""
        return self.type in _SPOKEN and (self.type, self.index) == (other.type, other.index) and not other.signature


_SPOKEN = ("reasoning.text", "reasoning.summary")

_DETAIL = msgspec.json.Decoder(Detail)


def read_detail(raw: Raw) -> Detail:
    """Read one entry; one in no known form is read as an entry without contents."""
    return reading.maybe(_DETAIL, raw) or Detail()


def read_thinking(text: str | None, details: Iterable[Raw] | None) -> list[Part]:
    """The reasoning of an assistant message in a request, in its order. `text` is the value of the plain field; it is
    left out if the details hold text, because they repeat it."""
    parts = _Grouping().read(details or ())
    if not text or any(isinstance(part, Thinking) and part.text for part in parts):
        return parts
    for n, part in enumerate(parts):
        if isinstance(part, Thinking):
            parts[n] = msgspec.structs.replace(part, text=text)
            return parts
    return [Thinking(text=text, origin="chat"), *parts]


def read_own(text: str | None, details: Sequence[Raw]) -> list[Part]:
    """The reasoning of a chat upstream's reply, as one part. `text` is the value of the plain field."""
    found = [read_detail(raw) for raw in details]
    words = text or "".join(detail.words for detail in found)
    seal = None if all(detail.plain for detail in found) else _joined(map(bytes, details))
    return [Thinking(text=words, seal=seal, origin="chat")] if words or seal else []


class Entries:
    """Collects the details of a chat upstream's stream, and makes them the seal of a part.

    OpenRouter streams the text of an entry in many pieces, and its signature in the last. The pieces are joined,
    because the signature is that of the whole text.
    """

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._sealed = False
        self._pieces: list[str] = []  # texts of the entry that grows
        self._first = self._last = NULL
        self._detail = Detail()

    def add(self, raw: Raw, detail: Detail) -> None:
        """Take in one entry, or a piece of one."""
        self._sealed = self._sealed or not detail.plain
        if not self._pieces or not detail.continues(self._detail):
            self._close()
            self._first = raw
        self._last = raw
        self._detail = detail
        self._pieces.append(detail.words)

    def take(self) -> str | None:
        """The seal of the details since the last call; None if all of them were plain text."""
        self._close()
        seal = _joined(self._done) if self._sealed else None
        self._done, self._sealed = [], False
        return seal

    def _close(self) -> None:
        """Join the pieces of the entry that grew; the fields of its last piece count."""
        if len(self._pieces) == 1:
            self._done.append(bytes(self._first))
        elif self._pieces:
            field = "summary" if self._detail.type == "reasoning.summary" else "text"
            fields = {**OBJECT.decode(self._first), **OBJECT.decode(self._last), field: "".join(self._pieces)}
            self._done.append(msgspec.json.encode(fields))
        self._pieces = []


class _Grouping:
    """Groups the entries of a request into parts."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._own: list[Raw] = []  # the chat upstream's own entries, which become one part

    def read(self, details: Iterable[Raw]) -> list[Part]:
        """The parts, in the order of the entries."""
        for raw in details:
            detail = read_detail(raw)
            if detail.origin == "chat":
                self._own.append(raw)
                continue
            self._close()
            if detail.origin == "messages":
                self._parts.append(_claude(detail))
            else:
                self._openai(detail)
        self._close()
        return [_without_bare_id(part) for part in self._parts]

    def _close(self) -> None:
        """End the part of the chat upstream's own entries."""
        self._parts += read_own(None, self._own)
        self._own = []

    def _openai(self, detail: Detail) -> None:
        """Add an entry of OpenAI's. A summary and the encrypted content after it are one item, unless their ids
        differ."""
        last = self._parts[-1] if self._parts else None
        joins = isinstance(last, Thinking) and last.origin == "responses" and last.seal is None
        if joins and isinstance(last, Thinking) and (last.item_id == detail.id or None in (last.item_id, detail.id)):
            self._parts[-1] = msgspec.structs.replace(
                last, text=last.text + detail.words, seal=detail.data, item_id=last.item_id or detail.id
            )
            return
        self._parts.append(
            Thinking(
                text=detail.words,
                summary=detail.type != "reasoning.text",
                seal=detail.data,
                origin="responses",
                item_id=detail.id,
                extras=FROM_CHAT,
            )
        )


def _without_bare_id(part: Part) -> Part:
    """The part without its id if it has no seal: a bare id would refer to reasoning that OpenAI keeps, and that may be
    somebody else's."""
    if isinstance(part, Thinking) and part.item_id is not None and not part.seal:
        return msgspec.structs.replace(part, seal=None, item_id=None)
    return part


def _claude(detail: Detail) -> Part:
    """The part of an entry of Anthropic's."""
    if detail.redacts:
        return RedactedThinking(data=detail.data or "", extras=FROM_CHAT)
    return Thinking(text=detail.words, seal=detail.signature or None, origin="messages", extras=FROM_CHAT)


def _joined(entries: Iterable[bytes]) -> str:
    """A chat upstream's entries as one seal: a JSON list of them, byte for byte."""
    return "[" + ",".join(entry.decode("utf-8", "replace") for entry in entries) + "]"


def write_details(part: Thinking | RedactedThinking, text: str | None = None) -> list[Any]:
    """The `reasoning_details` of one part; none if it has no seal. `text` stands in for the part's own text, which a
    stream's part does not hold."""
    if isinstance(part, RedactedThinking):
        return [{"type": "reasoning.encrypted", "data": part.data, "format": _CLAUDE}]
    if not part.seal:
        return []
    words = part.text if text is None else text
    if part.origin == "messages":
        return [{"type": "reasoning.text", "text": words, "signature": part.seal, "format": _CLAUDE}]
    if part.origin == "responses":
        return _write_openai(part, words)
    return reading.maybe(RAWS, part.seal) or []


def _write_openai(part: Thinking, words: str) -> list[Any]:
    """The entries for a part of OpenAI's: its text, and its encrypted content."""
    name = {"id": part.item_id} if part.item_id is not None else {}
    kind, field = ("reasoning.summary", "summary") if part.summary else ("reasoning.text", "text")
    shown = [{"type": kind, field: words, **name, "format": _OPENAI}] if words else []
    return [*shown, {"type": "reasoning.encrypted", "data": part.seal, **name, "format": _OPENAI}]
