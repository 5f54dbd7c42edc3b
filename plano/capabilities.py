"""The capabilities of an API as rows of data: one for a provider, and more for models, by the prefix of their ids.

A row may leave out most of them. Each capability is taken from the row with the longest matching prefix that states it;
the provider's own row has the empty prefix, so it comes last. A provider's `prepare` does what rows cannot express.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plano.losses import Losses
from plano.types import UpstreamDialect

Fields: TypeAlias = dict[str, Raw]
"""A request body's top-level fields, in order, each as its original bytes."""


class Refused(Struct, frozen=True, kw_only=True):
    """Fields that the API refuses with any value, so that they are left out.

    Attributes:
        fields: their names; a field that is null asks for nothing, and stays.
        reason: the reason in the report of the loss; `{model}` in it is the model's id.
        harmless: the one value that is accepted all the same, for the fields that have one.
    """

    fields: tuple[str, ...]
    reason: str
    harmless: Mapping[str, float] = {}


class Takes(Struct, frozen=True, kw_only=True):
    """One row. An attribute that is None is not stated by it.

    Attributes:
        max_tokens: the most output tokens, for APIs that require a number and for those that refuse a higher one.
        developer: whether the role `developer` is known; if it is not, such a message is sent as a system message.
        renames: OpenAI's name of a field, mapped to the name that this API knows.
        refuses: fields that are left out.
        dialects: the dialects that the row is about; empty means all of them.
    """

    max_tokens: int | None = None
    developer: bool | None = None
    renames: Mapping[str, str] | None = None
    refuses: tuple[Refused, ...] | None = None
    dialects: tuple[UpstreamDialect, ...] = ()

    def words(self) -> tuple[str, ...]:
        """The words of which at least one stands in a body that `fit` changes."""
        refused = (name for each in self.refuses or () for name in each.fields)
        return (*(("developer",) if self.developer is False else ()), *(self.renames or ()), *refused)

    def fit(self, model: str, fields: Fields, losses: Losses) -> None:
        """Change the fields of an outgoing body in place, and report what is left out."""
        if self.developer is False:
            developer_as_system(fields)
        for old, new in (self.renames or {}).items():
            rename(fields, old, new)
        for refused in self.refuses or ():
            values = {name: refused.harmless.get(name) for name in refused.fields}
            strip_unless(fields, values, losses, refused.reason.format(model=model))


def takes_of(rows: Mapping[str, Takes], model: str, dialect: UpstreamDialect) -> Takes:
    """Merge the rows that match a model and a dialect into one; `rows` are by the prefix of models' ids."""
    known = [rows[start] for start in sorted(rows, key=len, reverse=True) if model.startswith(start)]
    found = [row for row in known if not row.dialects or dialect in row.dialects]
    said = {name: [getattr(row, name) for row in found] for name in _SAID}
    return Takes(**{name: _first(values) for name, values in said.items()})


_SAID = [name for name in Takes.__struct_fields__ if name != "dialects"]


def limits(most: Mapping[str, int]) -> dict[str, Takes]:
    """Rows for the most output tokens of models, by the prefix of their ids."""
    return {start: Takes(max_tokens=tokens) for start, tokens in most.items()}


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


# --- changing a body's fields -----------------------------------------------------------------------

_DEVELOPER = re.compile(rb'"developer"')
_messages = msgspec.json.Decoder(list[dict[str, Raw]])


def developer_as_system(fields: Fields) -> None:
    """Turn developer messages into system messages, for a server that does not know the newer role.

    OpenAI's own description of the role: it replaces system messages, for models from o1 on.
    """
    messages = fields.get("messages")
    if messages is None or _DEVELOPER.search(messages) is None:
        return
    try:
        decoded = _messages.decode(messages)
    except msgspec.ValidationError:
        return  # not a list of messages: the upstream describes the mistake better
    for message in decoded:
        if bytes(message.get("role", b"")) == b'"developer"':
            message["role"] = Raw(b'"system"')
    fields["messages"] = Raw(msgspec.json.encode(decoded))


def rename(fields: Fields, old: str, new: str) -> None:
    """Rename the field `old` to `new`; an existing `new` stays as it is."""
    if old in fields:
        value = fields.pop(old)
        fields.setdefault(new, value)


def strip(fields: Fields, names: Iterable[str], losses: Losses, reason: str) -> None:
    """Take fields out, and report each that said something (null says nothing)."""
    for name in names:
        value = fields.pop(name, None)
        if value is not None and bytes(value) != b"null":
            losses.drop(name, reason)


def strip_unless(fields: Fields, harmless: Mapping[str, float | None], losses: Losses, reason: str) -> None:
    """Take out each field, unless it has the one value that the model accepts.

    `harmless` maps a field to that value; None means that there is none. A null stays: it asks for nothing.
    """
    for name, accepted in harmless.items():
        value = decoded(fields.get(name))
        if value is not None and (accepted is None or value != accepted):
            strip(fields, (name,), losses, reason)


def decoded(value: Raw | None) -> object:
    """A field's value as Python has it; None where it is missing."""
    return None if value is None else msgspec.json.decode(value)


def encoded(value: object) -> Raw:
    """A value as JSON."""
    return Raw(msgspec.json.encode(value))
