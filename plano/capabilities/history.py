"""Fits the messages of a chat body to the server that gets them.

Only the fields that the row of the server speaks of change. All others go on as they are, because the server may know
more than plano does; a body that holds no list of messages is left to the server to describe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from plano.capabilities.fields import Fields, encoded
from plano.losses import Losses

SEAL = "extra_content"
"""The field in which Google's chat endpoint seals calls, and Gemini 3 refuses a history in which the first call of a
step has none ("Thought signatures"). No other server knows it, and strict ones refuse it."""

STAND_IN = Raw(b'{"google":{"thought_signature":"skip_thought_signature_validator"}}')
"""The seal of a call that Gemini did not make ("Thought signatures", section "FAQs")."""

NO_THOUGHTS = Raw(b'"(not recorded)"')
"""The reasoning of a message that has none, for servers that require some."""

TEXTS = ("reasoning_content", "reasoning")
DETAILS = "reasoning_details"
"""The fields of earlier reasoning: DeepSeek's and vLLM's name for its text, and OpenRouter's list of its entries."""

_ONE_IN_FRONT = re.compile(rb'\s*\[\s*\{\s*"role"\s*:\s*"system"')
NULL = Raw(b"null")
_EMPTY = (b"", b"null", b'""', b"[]")

_messages = msgspec.json.Decoder(list[Fields])
_content = msgspec.json.Decoder(str | list[Raw])
_calls = msgspec.json.Decoder(list[Fields])


class _Entry(msgspec.Struct):
    text: str | None = None
    summary: str | None = None


_entries = msgspec.json.Decoder(list[_Entry])


class Takes(Protocol):
    """The part of a model's row that is about messages; see `plano.capabilities.rows.Takes`."""

    @property
    def systems(self) -> str | None: ...
    @property
    def thoughts(self) -> str | None: ...
    @property
    def needs_thoughts(self) -> bool | None: ...
    @property
    def call_seals(self) -> str | None: ...


def fit_history(takes: Takes, fields: Fields, losses: Losses, *, thinks: bool) -> None:
    """Change `messages` in place, and report what is left out.

    Args:
        takes: the row of the model.
        thinks: whether the model thinks on this request.
    """
    raw = fields.get("messages")
    if raw is None:
        return
    kept = _Kept(takes, thinks=thinks and bytes(fields.get("tools", b"")) not in _EMPTY)
    if not kept.concerns(bytes(raw)):
        return
    lost = Losses()
    try:
        messages = _messages.decode(raw)
        fitted = kept.fit([message.copy() for message in messages], lost)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return  # the upstream describes the mistake better
    if fitted != messages:
        fields["messages"] = encoded(fitted)
    for loss in lost:
        losses.drop(loss.field, loss.reason)


def words_of(takes: Takes) -> tuple[str, ...]:
    """The words of which at least one stands in a body that `fit_history` changes."""
    return (
        *(("system", "developer") if takes.systems == "one" else ()),
        *sorted(_foreign(takes.thoughts)),
        *(("tools",) if takes.needs_thoughts else ()),
        *({"refused": (SEAL,), "needed": ("tool_calls",)}.get(takes.call_seals or "", ())),
    )


class _Kept:
    """The form in which a row keeps a history. `thinks`: whether the model thinks in a request that has tools."""

    def __init__(self, takes: Takes, *, thinks: bool) -> None:
        self._one_system = takes.systems == "one"
        self._thoughts = takes.thoughts
        self._gone = _foreign(takes.thoughts)
        self._seals = takes.call_seals
        self._needs_thoughts = bool(takes.needs_thoughts) and thinks

    def concerns(self, messages: bytes) -> bool:
        """Whether the messages may have to change. It is found by words alone, because most need not."""
        if self._one_system and _may_instruct_more(messages):
            return True
        if self._needs_thoughts and b'"assistant"' in messages:
            return True
        if self._seals == "needed" and b'"tool_calls"' in messages:
            return True
        if self._seals == "refused" and b'"extra_content"' in messages:
            return True
        return any(b'"%b"' % name.encode() in messages for name in self._gone)

    def fit(self, messages: list[Fields], losses: Losses) -> list[Fields]:
        if self._one_system:
            messages = _with_one_system(messages, losses)
        for message in messages:
            if bytes(message.get("role", b"")) == b'"assistant"':
                self._fit_thoughts(message, losses)
                self._fit_calls(message, losses)
        return messages

    def _fit_thoughts(self, message: Fields, losses: Losses) -> None:
        self._say_thoughts(message, losses)
        if self._needs_thoughts and bytes(message.get("reasoning_content", b"null")) == b"null":
            message["reasoning_content"] = NO_THOUGHTS
            losses.drop("messages.thinking", "the server wants reasoning there, and there is none; said so")

    def _say_thoughts(self, message: Fields, losses: Losses) -> None:
        """Move the text of the reasoning to the field that the server takes."""
        if not self._gone & message.keys():
            return
        wanted = self._thoughts
        details = message.get(DETAILS, NULL)
        said = [message[name] for name in TEXTS if bytes(message.get(name, NULL)) not in _EMPTY]
        text = said[0] if said else None if wanted == DETAILS else _words_of(details)
        for name in self._gone:
            message.pop(name, None)
        if text is not None and wanted == "parts":
            message["content"] = _with_thoughts(message.get("content"), text)
        elif text is not None and wanted:
            message["reasoning" if wanted == DETAILS else wanted] = text
        elif wanted != DETAILS and (text is not None or bytes(details) not in _EMPTY):
            losses.drop("messages.thinking", "the server takes no reasoning back")

    def _fit_calls(self, message: Fields, losses: Losses) -> None:
        """Take the seals out of a message, or give its first call one."""
        calls = message.get("tool_calls", NULL)
        if self._seals == "refused":
            if message.pop(SEAL, None) is not None:
                losses.drop("messages.extra_content", "only the vendor that it came from knows it")
            if b'"extra_content"' in bytes(calls):
                written = _calls.decode(calls)
                message["tool_calls"] = encoded([{n: v for n, v in call.items() if n != SEAL} for call in written])
                if any(SEAL in call for call in written):
                    losses.drop("messages.tool_calls.extra_content", "only the vendor that it came from knows it")
        elif self._seals == "needed" and bytes(calls) not in _EMPTY:
            first, *others = _calls.decode(calls)
            if SEAL not in first:
                message["tool_calls"] = encoded([first | {SEAL: STAND_IN}, *others])


def _foreign(wanted: str | None) -> frozenset[str]:
    """The fields of reasoning that do not go to a server that takes it as `wanted`."""
    if wanted is None:
        return frozenset()
    return frozenset((*TEXTS, DETAILS)) - {wanted, "reasoning" if wanted == DETAILS else wanted}


def _may_instruct_more(messages: bytes) -> bool:
    """Whether there may be another instruction than one in front."""
    found = messages.count(b'"system"') + messages.count(b'"developer"')
    return found > 1 or (found == 1 and _ONE_IN_FRONT.match(messages) is None)


def _words_of(details: Raw) -> Raw | None:
    """The text of OpenRouter's entries; None if they have none."""
    try:
        words = "".join(entry.text or entry.summary or "" for entry in _entries.decode(details))
    except msgspec.ValidationError:
        return None
    return encoded(words) if words else None


def _with_thoughts(content: Raw | None, text: Raw) -> Raw:
    """A content with reasoning as its first part, in the form of Mistral ("Reasoning")."""
    thoughts: Any = {"type": "thinking", "thinking": [_text_part(text)]}
    return encoded([thoughts, *_parts_of(content)])


def _with_one_system(messages: list[Fields], losses: Losses) -> list[Fields]:
    """The messages with the leading instructions joined. Later ones are told as the user's, because many templates
    take one in front alone."""
    count = 0
    while count < len(messages) and _instructs(messages[count]):
        count += 1
    leading, rest = messages[:count], messages[count:]
    for message in filter(_instructs, rest):
        role = bytes(message["role"]).decode().strip('"')
        message["role"] = Raw(b'"user"')
        losses.drop("messages.role", f"a {role} message between others is sent as the user's")
    if not leading or (count == 1 and bytes(leading[0]["role"]) == b'"system"'):
        return messages
    joined: Fields = {}
    for message in leading:
        joined |= message
    joined |= {"role": Raw(b'"system"'), "content": _joined([message.get("content") for message in leading])}
    return [joined, *rest]


def _instructs(message: Mapping[str, Raw]) -> bool:
    return bytes(message.get("role", b"")) in (b'"system"', b'"developer"')


def _joined(contents: list[Raw | None]) -> Raw:
    """Several contents as one: a text, or, if a part is more than that, a list of parts."""
    said = [content for content in contents if content is not None and bytes(content) not in _EMPTY]
    found = [_content.decode(content) for content in said]
    texts = [each if isinstance(each, str) else _plain(each) for each in found]
    if None not in texts:
        return encoded("\n\n".join(text for text in texts if text))
    return encoded([part for content in said for part in _parts_of(content)])


def _plain(parts: list[Raw]) -> str | None:
    """The text of parts that are nothing but text; None if one has more to it."""
    found = [msgspec.json.decode(part) for part in parts]
    if any(not isinstance(part, dict) or part.keys() != {"type", "text"} for part in found):
        return None
    return "\n\n".join(str(part["text"]) for part in found)


def _parts_of(content: Raw | None) -> list[Any]:
    """A content as a list of parts."""
    if content is None or bytes(content) in _EMPTY:
        return []
    return [_text_part(content)] if isinstance(found := _content.decode(content), str) else found


def _text_part(text: Raw) -> dict[str, Any]:
    return {"type": "text", "text": text}
