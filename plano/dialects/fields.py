"""JSON objects, read field by field, so that what nobody took is left over and stays as it was written."""

from __future__ import annotations

import re
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Raw

from plano.conversation import NO_EXTRAS, Extras
from plano.errors import InvalidRequest
from plano.types import Dialect

T = TypeVar("T")

Object: TypeAlias = dict[str, Raw]
Decoder: TypeAlias = msgspec.json.Decoder[T]

NULL = Raw(b"null")
ABSENT = Raw()
"""The default of a struct's unread field: msgspec does not take `Raw | None`."""

STRING: Decoder[str] = msgspec.json.Decoder(str)
BOOLEAN: Decoder[bool] = msgspec.json.Decoder(bool)
INTEGER: Decoder[int] = msgspec.json.Decoder(int)
NUMBER: Decoder[float] = msgspec.json.Decoder(float)
OBJECT: Decoder[Object] = msgspec.json.Decoder(Object)
OBJECTS: Decoder[list[Object]] = msgspec.json.Decoder(list[Object])
RAWS: Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
STRINGS: Decoder[list[str]] = msgspec.json.Decoder(list[str])

CONTENT: Decoder[str | list[Object]] = msgspec.json.Decoder(str | list[Object])
"""What a message or a tool's result holds: a string, or parts."""

RAW_CONTENT: Decoder[str | list[Raw]] = msgspec.json.Decoder(str | list[Raw])
"""The same, with the parts unread."""

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


def present(raw: Raw) -> bool:
    """A struct's unread field says something: it is neither absent nor null."""
    return raw is not ABSENT and raw != NULL and len(raw) > 0


def empty(raw: Raw) -> bool:
    """It says nothing: it is absent, null, or an empty text, list or object."""
    written = bytes(raw)
    if written[:1] in (b"[", b"{"):
        return not written[1:-1].strip()
    return written in (b"", b"null", b'""')


def raw_of(value: object) -> Raw:
    """A value as unread JSON."""
    return Raw(msgspec.json.encode(value))


def own(extras: Extras, dialect: Dialect) -> Object:
    """The share of `extras` that is this dialect's, as a new dict."""
    return dict(extras.get(dialect, ()))


def decode(decoder: Decoder[T], raw: Raw, path: str) -> T:
    """What stands at `path` of a request.

    Raises:
        InvalidRequest: it is of another type; `param` is `path` with the place inside of it.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        message = str(error)
        where = _WHERE.search(message)
        param = path + where.group(1) if where else path
        reason = message[: where.start()] if where else message
        raise InvalidRequest(f"Invalid `{param}`: {reason}.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Invalid `{path}`: not valid JSON: {error}.", param=path) from None
    except RecursionError:
        raise InvalidRequest(f"Invalid `{path}`: nested too deeply.", param=path) from None


def object_at(raw: Raw, path: str) -> Fields:
    """The fields of an object that stands somewhere in a list."""
    return Fields(decode(OBJECT, raw, path), path)


class Fields:
    """Takes fields out of `found`; what is left in the end is what this project does not know. Absent and null are
    the same."""

    __slots__ = ("found", "path")

    def __init__(self, found: Object, path: str = "") -> None:
        self.found = found
        self.path = path

    def take(self, name: str, decoder: Decoder[T]) -> T | None:
        """The field's value. Raises InvalidRequest, with the field's path, if it is of another type."""
        raw = self.raw(name)
        return None if raw is None else decode(decoder, raw, self.at(name))

    def need(self, name: str, decoder: Decoder[T]) -> T:
        """Like `take`, for a field that must be there."""
        value = self.take(name, decoder)
        if value is None:
            raise self.missing(name)
        return value

    def raw(self, name: str) -> Raw | None:
        """The field's JSON, unread."""
        raw = self.found.pop(name, None)
        return None if raw is None or raw == NULL else raw

    def raw_object(self, name: str) -> Raw | None:
        """Like `raw`, for what must be an object."""
        raw = self.raw(name)
        if raw is not None and bytes(memoryview(raw)[:1]) != b"{":
            raise self.wrong(name, "Expected `object`")
        return raw

    def nested(self, name: str) -> Fields | None:
        """The object in this field."""
        found = self.take(name, OBJECT)
        return None if found is None else Fields(found, self.at(name))

    def need_nested(self, name: str) -> Fields:
        """Like `nested`, for an object that must be there."""
        return Fields(self.need(name, OBJECT), self.at(name))

    def each(self, name: str) -> list[Fields]:
        """The objects of a list; none where the list is absent."""
        found = self.take(name, OBJECTS) or []
        return [Fields(item, f"{self.at(name)}[{n}]") for n, item in enumerate(found)]

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def rest(self) -> Object:
        """What is left. A null says nothing, so it is not kept."""
        return {name: value for name, value in self.found.items() if value != NULL}

    def extras(self, dialect: Dialect) -> Extras:
        """What is left, as the extras of `dialect`."""
        rest = self.rest()
        return {dialect: rest} if rest else NO_EXTRAS

    def missing(self, name: str) -> InvalidRequest:
        param = self.at(name)
        return InvalidRequest(f"Missing `{param}`: the field is required.", param=param)

    def wrong(self, name: str, reason: str) -> InvalidRequest:
        param = self.at(name)
        return InvalidRequest(f"Invalid `{param}`: {reason}.", param=param)
