"""Reads a message's content as chat and messages write it: a string, or a list of parts that each have a `type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from plano.conversation import Opaque, Part, Text
from plano.dialects.fields import STRING, Fields, Object, raw_of
from plano.types import Dialect

Readers: TypeAlias = Mapping[str, Callable[[Fields], Part | None]]
"""The reader for each type. It gives None for a part of its type that has no neutral form."""


def read_parts(content: str | list[Object], path: str, readers: Readers, dialect: Dialect) -> tuple[Part, ...]:
    """The parts of `content`; a string is a single text. A part of an unknown type becomes an `Opaque`, which is
    written as it was read.

    Raises:
        InvalidRequest: a part has no type, or not the form of its type.
    """
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_read_part(Fields(part, f"{path}[{n}]"), readers, dialect) for n, part in enumerate(content))


def _read_part(part: Fields, readers: Readers, dialect: Dialect) -> Part:
    whole = dict(part.found)
    type_ = part.need("type", STRING)
    read = readers.get(type_)
    found = read(part) if read is not None else None
    return found if found is not None else Opaque(dialect=dialect, type=type_, raw=raw_of(whole))
