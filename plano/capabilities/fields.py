"""Changes to the top-level fields of a request's body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec
from msgspec import Raw

from plano.losses import Losses

Fields: TypeAlias = dict[str, Raw]
"""A request body's top-level fields, in order, each as its original bytes."""

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
    """Rename the field `old` to `new`; an existing `new` stays as it is, unless it is null."""
    if old in fields:
        value = fields.pop(old)
        if bytes(fields.get(new, b"null")) == b"null":
            fields[new] = value


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


def object_in(fields: Fields, name: str) -> dict[str, object]:
    """The object that a field holds; an empty one if it is missing or something else."""
    value = decoded(fields.get(name))
    return value if isinstance(value, dict) else {}


def encoded(value: object) -> Raw:
    """A value as JSON."""
    return Raw(msgspec.json.encode(value))
