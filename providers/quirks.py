"""Changes to bodies that several providers need, each as a function over the top-level fields.

A quirk changes only fields that the provider is known to refuse, or to ignore though it has the same setting under
another name. The whole conversation is only read if it has to be changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from plano.losses import Losses
from plano.provider import Fields
from plano.types import UpstreamDialect

_DEVELOPER = re.compile(rb'"developer"')
_messages = msgspec.json.Decoder(list[dict[str, Raw]])


def compatible_chat(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Make developer messages system messages, for servers with OpenAI's chat API as it was before reasoning models."""
    if dialect == "chat":
        developer_as_system(fields)


def early_chat(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Like `compatible_chat`, for servers that also know the limit of a reply only as `max_tokens`."""
    if dialect == "chat":
        developer_as_system(fields)
        rename(fields, "max_completion_tokens", "max_tokens")


def compatible_heeds(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The words that `compatible_chat` and `early_chat` look for."""
    return ("developer", "max_completion_tokens") if dialect == "chat" else ()


def developer_as_system(fields: Fields) -> None:
    """Give developer messages the role `system`, which servers without the newer role know.

    By OpenAI's description of the role, it replaces system messages for models from o1 on.
    """
    messages = fields.get("messages")
    if messages is None or _DEVELOPER.search(messages) is None:
        return
    try:
        decoded = _messages.decode(messages)
    except msgspec.ValidationError:
        return  # not a list of messages: the upstream's error will say so
    for message in decoded:
        if bytes(message.get("role", b"")) == b'"developer"':
            message["role"] = Raw(b'"system"')
    fields["messages"] = Raw(msgspec.json.encode(decoded))


def rename(fields: Fields, old: str, new: str) -> None:
    """Rename the field `old` to `new`. If `new` is there already, it stays as it is, and `old` is dropped."""
    if old in fields:
        value = fields.pop(old)
        fields.setdefault(new, value)


def strip(fields: Fields, names: Iterable[str], losses: Losses, reason: str) -> None:
    """Take fields out, and report each whose value is not null."""
    for name in names:
        value = fields.pop(name, None)
        if value is not None and bytes(value) != b"null":
            losses.drop(name, reason)


def strip_effort(
    dialect: UpstreamDialect, fields: Fields, losses: Losses, reason: str, *, thinks: bool = False
) -> None:
    """Take the effort out, for models that refuse it.

    Args:
        thinks: whether the model thinks. If it does not, an effort of `none` is what happens anyway, and not reported.
    """
    if dialect == "chat":
        field, effort = "reasoning_effort", decoded(fields.pop("reasoning_effort", None))
    elif isinstance(reasoning := decoded(fields.get("reasoning")), dict):
        field, effort = "reasoning.effort", reasoning.pop("effort", None)
        fields["reasoning"] = encoded(reasoning)
        if all(value is None for value in reasoning.values()):
            del fields["reasoning"]
    else:
        return
    if effort is not None and (thinks or effort != "none"):
        losses.drop(field, reason)


def strip_unless(fields: Fields, harmless: Mapping[str, float | None], losses: Losses, reason: str) -> None:
    """Take out the fields that a model refuses, but for the one value that it accepts.

    `harmless` maps a field to that value, or to None if there is none. A null stays, because it asks for nothing.
    """
    for name, accepted in harmless.items():
        value = decoded(fields.get(name))
        if value is not None and (accepted is None or value != accepted):
            strip(fields, (name,), losses, reason)


def decoded(value: Raw | None) -> object:
    """A field's value, parsed; None if the field is absent."""
    return None if value is None else msgspec.json.decode(value)


def encoded(value: object) -> Raw:
    """A value as a field's JSON."""
    return Raw(msgspec.json.encode(value))
