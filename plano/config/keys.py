"""The rules for the values of a configuration's keys, in which the schema is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal[
    "text", "secret", "boolean", "integer", "number", "duration", "anything", "list", "map", "object", "either"
]

Effect: TypeAlias = Literal["used", "none", "refused"]
"""`none`: accepted with a warning that it has no effect yet. `refused`: katanemo's Plano has it and plano does not."""


class Key(Struct, frozen=True, kw_only=True):
    """The rules for the value of one key.

    Attributes:
        kind: its type.
        default: the value of a missing key; None for none.
        required: the key must be there.
        choices: the only allowed texts; empty if any text is allowed.
        least, most: the bounds of a number, both included.
        item: the rules for a list's items or a map's values.
        keys: the rules for an object's keys.
        open: an object may have other keys too.
        other: the rules for a mapping where the kind is `either`; `item` then has those for anything else.
        or_off: `false` is a value too, and stands for None.
        in_header: the secret goes into a header: outer blanks are removed, and it must be ASCII.
        never_empty: the advice against an empty value, where that would be dangerous.
        effect: whether plano uses it.
    """

    kind: Kind
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    item: Key | None = None
    keys: Mapping[str, Key] = {}
    open: bool = False
    other: Key | None = None
    or_off: bool = False
    in_header: bool = False
    never_empty: str | None = None
    effect: Effect = "used"


def paths(keys: Mapping[str, Key], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Every key with its path: `model_providers[].name`, `model_aliases.<name>.target`."""
    for name, key in keys.items():
        yield from _paths(f"{prefix}{name}", key)


def _paths(path: str, key: Key) -> Iterator[tuple[str, Key]]:
    yield path, key
    if key.item is not None:
        below = {"list": "[]", "map": ".<name>"}.get(key.kind, "")
        yield from list(_paths(f"{path}{below}", key.item))[1:]
    if key.other is not None:
        yield from list(_paths(path, key.other))[1:]
    yield from paths(key.keys, f"{path}.")


def text(default: str | None = None, **more: Any) -> Key:
    return Key(kind="text", default=default, **more)


def boolean(default: bool = False, **more: Any) -> Key:
    return Key(kind="boolean", default=default, **more)


def integer(default: int | None = None, *, least: int = 0, **more: Any) -> Key:
    return Key(kind="integer", default=default, least=least, **more)


def number(**more: Any) -> Key:
    return Key(kind="number", **more)


def duration(default: float | None = None, **more: Any) -> Key:
    return Key(kind="duration", default=default, **more)


def list_of(item: Key, **more: Any) -> Key:
    return Key(kind="list", item=item, default=(), **more)


def map_of(item: Key, **more: Any) -> Key:
    return Key(kind="map", item=item, default={}, **more)


def mapping(keys: Mapping[str, Key], **more: Any) -> Key:
    return Key(kind="object", keys=keys, **more)


def either(item: Key, other: Key, **more: Any) -> Key:
    """A mapping, or something else."""
    return Key(kind="either", item=item, other=other, **more)


SECRET = Key(kind="secret")
ANYTHING = Key(kind="anything")
