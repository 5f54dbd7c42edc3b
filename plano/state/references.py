"""What a request refers to at a provider of the responses API that keeps it, where several tenants are one to it.

Under one key the provider finds any tenant's items, approvals and containers by their ids. A request may name those
that this provider handed out in the history that is continued, and no others:

- An item that says nothing but an id, or is an `item_reference`, is not found.
- One that says more is taken by what it says, and loses the id: the provider might prefer what it keeps under that.
  Agents send back whole items this way. Reasoning without its seal says nothing that a provider could use; it is left
  out, and that is reported.
- The call that is approved, and the container that code runs in, are not found; of them there is no more than the id.

Files, vector stores and prompts are not kept by response but put there by the holder of the key, for whom they like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from plano.dialects import names, reading
from plano.errors import InvalidRequest, NotFound
from plano.losses import Losses
from plano.state import history, record
from plano.state.backend import Item
from plano.state.record import Origin, Record

UNKNOWN = "its id is not one of this conversation, and it says nothing else that could be used"

_REFERRING = frozenset({"approval_request_id", "container", "container_id", "previous_response_id"})
_HOLDING = _REFERRING | {"environment", "tools"}
_NAMES = _HOLDING | {"encrypted_content", "id", "role", "type"}
"""Fields that refer to something; those and the ones around them; and with them all that is decided on here."""

_PLAIN = frozenset({"arguments", "call_id", "content", "input", "name", "output", "role", "status", "summary", "type"})
"""Fields that refer to nothing."""

_SPOKEN = frozenset(
    {"custom_tool_call", "custom_tool_call_output", "function_call", "function_call_output", "message", "reasoning"}
)
"""Types of items, nearly all there are, that have none of those fields further inside."""

_SCHEMAS = frozenset({"input_schema", "parameters", "schema"})
"""Fields whose names are a tool's own."""

_NOTHING = frozenset({b"null", b'""', b"[]", b"{}"})
_ITEM = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder(Any)
_TEXT = msgspec.json.Decoder(str | None)
_encode = msgspec.json.Encoder().encode


class Known:
    """The ids that the provider behind an entry handed out in a history; found when the first is asked for.

    Input does not count: it is the client's own, whatever ids it has, and so is what was put into a conversation.
    """

    def __init__(self, entry: str, records: Sequence[Record], items: Sequence[Item]) -> None:
        self._entry = entry
        self._records = records
        self._items = items
        self._ids: set[str] | None = None

    def __contains__(self, id_: str) -> bool:
        if self._ids is None:
            self._ids = set(self._handed_out())
        return id_ in self._ids

    def _handed_out(self) -> Iterator[str]:
        for turn in self._records:
            if self._own(turn.origin):
                for item in history.output(turn):
                    yield from _ids_in(item)
        for kept in self._items:
            origin, item = record.read_item(kept)
            if self._own(origin):
                yield from _ids_in(item)

    def _own(self, origin: Origin) -> bool:
        return origin.dialect == "responses" and origin.entry == self._entry


def own(items: Iterable[Raw], known: Known, losses: Losses) -> list[Raw]:
    """The items without ids that are not `known`; each as it was if it has none of those.

    Raises:
        NotFound: an item is nothing but what it refers to.
        InvalidRequest: it is no object, or has a field that two readers could take for different ones.
    """
    found = (_own(raw, f"input[{place}].", known, losses) for place, raw in enumerate(items))
    return [raw for raw in found if raw is not None]


def judge_tools(tools: Raw, known: Known) -> None:
    """Tools may run in containers of this history alone; raises as `own`."""
    given: list[Raw] = reading.maybe(_LIST, tools) or []
    for place, raw in enumerate(given):
        fields = names.read(raw, _NAMES, f"tools[{place}].")
        if _text(fields, "type", f"tools[{place}].") not in ("function", "custom"):
            _judge(raw, known, "tools")


def _own(raw: Raw, path: str, known: Known, losses: Losses) -> Raw | None:
    if bytes(memoryview(raw)[:1]) != b"{":
        raise InvalidRequest(f"Invalid `{path[:-1]}`: Expected `object`.", param=path[:-1])
    fields = reading.request(_ITEM, raw)
    if fields.keys() <= _PLAIN:  # in whatever order and however often: as most are, where agents keep no ids
        return raw
    names.judge(raw, fields, _NAMES, path)
    type_ = _text(fields, "type", path) or "message"
    if type_ not in _SPOKEN or not fields.keys().isdisjoint(_HOLDING):
        _judge(raw, known, "input")
    id_ = _text(fields, "id", path)
    if id_ is None or id_ in known:
        return raw
    del fields["id"]
    if type_ == "reasoning" and bytes(fields.get("encrypted_content", b"null")) in _NOTHING:
        losses.drop("messages.thinking", UNKNOWN)
        return None
    said = fields.keys() - {"type", "role", "status"}
    if type_ == "item_reference" or all(bytes(fields[name]) in _NOTHING for name in said):
        raise _not_found("input")
    return Raw(_encode(fields))


def _text(fields: dict[str, Raw], name: str, path: str) -> str | None:
    try:
        return _TEXT.decode(fields[name]) if name in fields else None
    except reading.UNREADABLE:
        raise InvalidRequest(f"Invalid `{path}{name}`: Expected `str`.", param=f"{path}{name}") from None


def _judge(raw: Raw, known: Known, param: str) -> None:
    if any(id_ not in known for id_ in _references(reading.request(_ANY, raw))):
        raise _not_found(param)


def _references(value: Any) -> Iterator[str]:
    """The ids that a value refers to, however deep; a name counts that any reader could take for one that refers."""
    ahead = [value]
    while ahead:
        value = ahead.pop()
        if isinstance(value, list):
            ahead += value
        elif isinstance(value, dict):
            for name, each in value.items():
                meant = names.meant(name)
                if meant in _REFERRING and isinstance(each, str):
                    yield each
                elif meant not in _SCHEMAS:
                    ahead.append(each)


def _ids_in(item: Raw) -> Iterator[str]:
    """An item's own id, and the container's that it ran in."""
    value = reading.maybe(_ITEM, item) or {}
    id_ = reading.maybe(_TEXT, value.get("id", b"null"))
    if id_:
        yield id_
    yield from _references(reading.maybe(_ANY, item))


def _not_found(param: str) -> NotFound:
    return NotFound("An item that the request refers to was not found.", param=param)
