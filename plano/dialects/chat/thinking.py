"""Reasoning in a dialect whose reference has none: `reasoning_content`, `reasoning` and `reasoning_details`.

DeepSeek's API reference names the text `reasoning_content`, and most servers follow; OpenRouter ("Reasoning
tokens", section "reasoning_details") and newer vLLM say `reasoning`. Seals and hidden reasoning travel in OpenRouter's
`reasoning_details`: a list of `reasoning.text` (with a `signature`), `reasoning.summary` and `reasoning.encrypted`,
each with the `format` that says whose it is. All of it is read; what is written is `reasoning_content` for the text,
and one detail for each part that has a seal, with its text beside it.

A request's details are told apart by their `format`: a client hands back what was written for it here, which may be
another dialect's seal. A chat upstream's own reply is one seal, whatever the formats in it: it goes back to that
upstream alone, which wants the list as it gave it.
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
"""Whose seal it is in a request, by `format`; anything else belongs to the chat upstream it came from."""

FROM_CHAT: Extras = {"chat": {}}
"""Marks a part that stood in a chat body where the neutral model has no other room to say so. It holds no field,
so it is a loss to nobody."""

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
        return FORMATS.get(self.format or "", "chat")

    @property
    def words(self) -> str:
        return self.text or self.summary or ""

    @property
    def redacts(self) -> bool:
        return self.origin == "messages" and self.type == "reasoning.encrypted"

    @property
    def plain(self) -> bool:
        """It says no more than its text, so nothing of it must go back."""
        return not self.signature and not self.data and self.type in _SPOKEN

    def continues(self, other: Detail) -> bool:
        """In a stream, where an entry with text comes in pieces; a signature is its end."""
        return self.type in _SPOKEN and (self.type, self.index) == (other.type, other.index) and not other.signature


_SPOKEN = ("reasoning.text", "reasoning.summary")

_DETAIL = msgspec.json.Decoder(Detail)


def read_detail(raw: Raw) -> Detail:
    """Reads tolerantly: what is not an entry of the known form is one without contents."""
    return reading.maybe(_DETAIL, raw) or Detail()


def read_thinking(text: str | None, details: Iterable[Raw] | None) -> list[Part]:
    """The reasoning of a request's assistant message, in its order. `text` is what its plain field says; details
    that hold text themselves repeat it, and then they count."""
    parts = _Grouping().read(details or ())
    if not text or any(isinstance(part, Thinking) and part.text for part in parts):
        return parts
    for n, part in enumerate(parts):
        if isinstance(part, Thinking):
            parts[n] = msgspec.structs.replace(part, text=text)
            return parts
    return [Thinking(text=text, origin="chat"), *parts]


def read_own(text: str | None, details: Sequence[Raw]) -> list[Part]:
    """The reasoning of a chat upstream's reply, as one part. `text` is what its plain field says."""
    found = [read_detail(raw) for raw in details]
    words = text or "".join(detail.words for detail in found)
    seal = None if all(detail.plain for detail in found) else _joined(map(bytes, details))
    return [Thinking(text=words, seal=seal, origin="chat")] if words or seal else []


class Entries:
    """The details of a chat upstream's stream, until they are the seal of a part.

    OpenRouter streams the text of an entry in many pieces, and its signature in the last. Replayed in pieces, the
    signature fits none of them.
    """

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._sealed = False
        self._pieces: list[str] = []  # texts of the entry that grows
        self._first = self._last = NULL
        self._detail = Detail()

    def add(self, raw: Raw, detail: Detail) -> None:
        self._sealed = self._sealed or not detail.plain
        if not self._pieces or not detail.continues(self._detail):
            self._close()
            self._first = raw
        self._last = raw
        self._detail = detail
        self._pieces.append(detail.words)

    def take(self) -> str | None:
        """The seal of what came since the last time; None if all of it was text."""
        self._close()
        seal = _joined(self._done) if self._sealed else None
        self._done, self._sealed = [], False
        return seal

    def _close(self) -> None:
        if len(self._pieces) == 1:
            self._done.append(bytes(self._first))
        elif self._pieces:
            field = "summary" if self._detail.type == "reasoning.summary" else "text"
            fields = {**OBJECT.decode(self._first), **OBJECT.decode(self._last), field: "".join(self._pieces)}
            self._done.append(msgspec.json.encode(fields))
        self._pieces = []


class _Grouping:
    """Puts entries that make up one part together."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._own: list[Raw] = []  # the chat upstream's own entries, which are one part

    def read(self, details: Iterable[Raw]) -> list[Part]:
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
        self._parts += read_own(None, self._own)
        self._own = []

    def _openai(self, detail: Detail) -> None:
        """A summary and the encrypted content after it are one item, unless their ids say otherwise."""
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
    """Without its seal, an id would be a reference to whatever OpenAI keeps under it, and that may be anybody's."""
    if isinstance(part, Thinking) and part.item_id is not None and not part.seal:
        return msgspec.structs.replace(part, seal=None, item_id=None)
    return part


def _claude(detail: Detail) -> Part:
    if detail.redacts:
        return RedactedThinking(data=detail.data or "", extras=FROM_CHAT)
    return Thinking(text=detail.words, seal=detail.signature or None, origin="messages", extras=FROM_CHAT)


def _joined(entries: Iterable[bytes]) -> str:
    """A chat upstream's entries as one seal, byte for byte."""
    return "[" + ",".join(entry.decode("utf-8", "replace") for entry in entries) + "]"


def write_details(part: Thinking | RedactedThinking, text: str | None = None) -> list[Any]:
    """The `reasoning_details` of one part: none if it has no seal. `text` is its text, where the part's own does
    not hold it yet."""
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
    name = {"id": part.item_id} if part.item_id is not None else {}
    kind, field = ("reasoning.summary", "summary") if part.summary else ("reasoning.text", "text")
    shown = [{"type": kind, field: words, **name, "format": _OPENAI}] if words else []
    return [*shown, {"type": "reasoning.encrypted", "data": part.seal, **name, "format": _OPENAI}]
