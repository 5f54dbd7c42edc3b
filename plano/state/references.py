"""Keeps a tenant's requests from referring to objects of other tenants at a provider that stores responses.

All tenants share the gateway's key, so the provider finds any tenant's items, approvals and containers by their ids. A
request may refer to those that this provider returned in the history being continued, and to no others. For a
reference to anything else:

- An item that holds nothing but an id, or is an `item_reference`, is answered with "not found".
- An item that holds more is sent without its id, because the provider might prefer what it stores under that id.
  Agents send back whole items this way. Reasoning without its encrypted content is of no use to any provider; it is
  left out, and that is reported.
- An approved call and a code container are nothing but their id, so they are answered with "not found".

Files, vector stores and prompts are not covered: no response creates them. The holder of the key uploads them and
decides who may use them.
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

UNKNOWN = "its id does not belong to this conversation, and it has no other usable content"

_REFERRING = frozenset({"approval_request_id", "container", "container_id", "previous_response_id"})
_HOLDING = _REFERRING | {"environment", "tools"}
_NAMES = _HOLDING | {"encrypted_content", "id", "role", "type"}
"""Three sets, each within the next: fields that hold a reference; fields that hold one or contain such a field; all
fields that decide something here."""

_PLAIN = frozenset({"arguments", "call_id", "content", "input", "name", "output", "role", "status", "summary", "type"})
"""Fields that refer to nothing."""

_SPOKEN = frozenset(
    {"custom_tool_call", "custom_tool_call_output", "function_call", "function_call_output", "message", "reasoning"}
)
"""Types of items that hold no reference below their top level. Nearly all items have one of them."""

_SCHEMAS = frozenset({"input_schema", "parameters", "schema"})
"""Fields whose content is a tool's own, so that no name in it is a reference."""

_NOTHING = frozenset({b"null", b'""', b"[]", b"{}"})
_ITEM = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder(Any)
_TEXT = msgspec.json.Decoder(str | None)
_encode = msgspec.json.Encoder().encode


class Known:
    """The ids that the provider behind an entry returned in a history. They are collected at the first look-up.

    Ids in a turn's input do not count, nor do those of items that a client put into a conversation: the client may
    have written any id there.
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
    """Removes ids that are not `known` from items; the other items are returned unchanged.

    Raises:
        NotFound: an item is nothing but a reference to something unknown, or contains one.
        InvalidRequest: an item is no object, or has a field name that two JSON readers could understand differently.
    """
    found = (_own(raw, f"input[{place}].", known, losses) for place, raw in enumerate(items))
    return [raw for raw in found if raw is not None]


def judge_tools(tools: Raw, known: Known) -> None:
    """Checks that tools run only in containers of this history; raises what `own` raises."""
    given: list[Raw] = reading.maybe(_LIST, tools) or []
    for place, raw in enumerate(given):
        fields = names.read(raw, _NAMES, f"tools[{place}].")
        if _text(fields, "type", f"tools[{place}].") not in ("function", "custom"):
            _judge(raw, known, "tools")


def _own(raw: Raw, path: str, known: Known, losses: Losses) -> Raw | None:
    if bytes(memoryview(raw)[:1]) != b"{":
        raise InvalidRequest(f"Invalid `{path[:-1]}`: Expected `object`.", param=path[:-1])
    fields = reading.request(_ITEM, raw)
    if fields.keys() <= _PLAIN:  # the common case where agents keep no ids; a repeated field does no harm here
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
    """The ids that a value refers to, at any depth. A field counts if any JSON reader could take its name for that of
    a reference."""
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
    """An item's own id, and the ids that it refers to: the container it ran in."""
    value = reading.maybe(_ITEM, item) or {}
    id_ = reading.maybe(_TEXT, value.get("id", b"null"))
    if id_:
        yield id_
    yield from _references(reading.maybe(_ANY, item))


def _not_found(param: str) -> NotFound:
    return NotFound("An item that the request refers to was not found.", param=param)
