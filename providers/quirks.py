"""What several providers' bodies need, each as a function over the top-level fields.

A quirk changes only what the provider is known to refuse, or to ignore though it has the same thing by
another name. Nothing here reads the whole conversation unless it has to be changed.
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
    """For servers with OpenAI's chat API of before its reasoning models: no developer role."""
    if dialect == "chat":
        developer_as_system(fields)


def early_chat(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """As `compatible_chat`, for servers that moreover know a reply's limit by its old name only."""
    if dialect == "chat":
        developer_as_system(fields)
        rename(fields, "max_completion_tokens", "max_tokens")


def compatible_heeds(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """What `compatible_chat` and `early_chat` look for."""
    return ("developer", "max_completion_tokens") if dialect == "chat" else ()


def developer_as_system(fields: Fields) -> None:
    """A developer message is a system message to a server that does not know the newer word.

    OpenAI's own description of the role: it replaces system messages, for models from o1 on.
    """
    messages = fields.get("messages")
    if messages is None or _DEVELOPER.search(messages) is None:
        return
    try:
        decoded = _messages.decode(messages)
    except msgspec.ValidationError:
        return  # not a list of messages: the upstream says so better
    for message in decoded:
        if bytes(message.get("role", b"")) == b'"developer"':
            message["role"] = Raw(b'"system"')
    fields["messages"] = Raw(msgspec.json.encode(decoded))


def rename(fields: Fields, old: str, new: str) -> None:
    """Say `old` as `new`; a `new` that is there already stays as it is."""
    if old in fields:
        value = fields.pop(old)
        fields.setdefault(new, value)


def strip(fields: Fields, names: Iterable[str], losses: Losses, reason: str) -> None:
    """Take fields out, reporting each that said something (null says nothing)."""
    for name in names:
        value = fields.pop(name, None)
        if value is not None and bytes(value) != b"null":
            losses.drop(name, reason)


def strip_effort(
    dialect: UpstreamDialect, fields: Fields, losses: Losses, reason: str, *, thinks: bool = False
) -> None:
    """For models that refuse to be told how hard to think. `thinks`: they do think; where they do not, an effort of
    `none` asks for nothing else."""
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
    """Take out the fields whose value is not the one that a model accepts all the same.

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
    """The other way round."""
    return Raw(msgspec.json.encode(value))
