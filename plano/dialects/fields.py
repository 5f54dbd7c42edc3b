"""Reads the JSON objects of requests field by field. Fields that are not taken keep their bytes."""

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
"""The default of a struct's unread field, because msgspec does not take `Raw | None`."""

STRING: Decoder[str] = msgspec.json.Decoder(str)
BOOLEAN: Decoder[bool] = msgspec.json.Decoder(bool)
INTEGER: Decoder[int] = msgspec.json.Decoder(int)
NUMBER: Decoder[float] = msgspec.json.Decoder(float)
OBJECT: Decoder[Object] = msgspec.json.Decoder(Object)
OBJECTS: Decoder[list[Object]] = msgspec.json.Decoder(list[Object])
RAWS: Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
STRINGS: Decoder[list[str]] = msgspec.json.Decoder(list[str])

CONTENT: Decoder[str | list[Object]] = msgspec.json.Decoder(str | list[Object])
"""The content of a message or of a tool's result: a string, or parts."""

RAW_CONTENT: Decoder[str | list[Raw]] = msgspec.json.Decoder(str | list[Raw])
"""Like `CONTENT`, with the parts unread."""

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


def present(raw: Raw) -> bool:
    """Whether a struct's unread field has a value, neither absent nor null."""
    return raw is not ABSENT and raw != NULL and len(raw) > 0


def empty(raw: Raw) -> bool:
    """Whether a value says nothing: it is absent, null, or an empty text, list or object."""
    written = bytes(raw)
    if written[:1] in (b"[", b"{"):
        return not written[1:-1].strip()
    return written in (b"", b"null", b'""')


def says(raw: Raw) -> bool:
    """Whether a struct's unread field says something; the opposite of `empty`, and quick for an absent field."""
    return raw is not ABSENT and not empty(raw)


def raw_of(value: object) -> Raw:
    """Encode a value as unread JSON."""
    return Raw(msgspec.json.encode(value))


def own(extras: Extras, dialect: Dialect) -> Object:
    """The fields in `extras` that belong to `dialect`, as a new dict."""
    return dict(extras.get(dialect, ()))


def decode(decoder: Decoder[T], raw: Raw, path: str) -> T:
    """Decode the JSON that stands at `path` in a request.

    Raises:
        InvalidRequest: it is of another type; `param` is `path` and the place inside it.
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
    """The fields of the object at `path`, such as an element of a list."""
    return Fields(decode(OBJECT, raw, path), path)


class Fields:
    """An object whose fields are taken out of `found` one by one; the fields that are left in the end are unknown to
    plano. Null counts as absent."""

    __slots__ = ("found", "path")

    def __init__(self, found: Object, path: str = "") -> None:
        self.found = found
        self.path = path

    def take(self, name: str, decoder: Decoder[T]) -> T | None:
        """Take the field's value, None if it is absent.

        Raises:
            InvalidRequest: it is of another type; `param` is the field's path.
        """
        raw = self.raw(name)
        return None if raw is None else decode(decoder, raw, self.at(name))

    def need(self, name: str, decoder: Decoder[T]) -> T:
        """Like `take`, for a required field."""
        value = self.take(name, decoder)
        if value is None:
            raise self.missing(name)
        return value

    def raw(self, name: str) -> Raw | None:
        """Take the field's JSON, unread."""
        raw = self.found.pop(name, None)
        return None if raw is None or raw == NULL else raw

    def raw_object(self, name: str) -> Raw | None:
        """Like `raw`, for a field that must be an object."""
        raw = self.raw(name)
        if raw is not None and bytes(memoryview(raw)[:1]) != b"{":
            raise self.wrong(name, "Expected `object`")
        return raw

    def nested(self, name: str) -> Fields | None:
        """Take the object in this field."""
        found = self.take(name, OBJECT)
        return None if found is None else Fields(found, self.at(name))

    def need_nested(self, name: str) -> Fields:
        """Like `nested`, for a required field."""
        return Fields(self.need(name, OBJECT), self.at(name))

    def each(self, name: str) -> list[Fields]:
        """Take the objects of a list; none if the list is absent."""
        found = self.take(name, OBJECTS) or []
        return [Fields(item, f"{self.at(name)}[{n}]") for n, item in enumerate(found)]

    def at(self, name: str) -> str:
        """The path of the field `name`, for errors."""
        return f"{self.path}.{name}" if self.path else name

    def rest(self) -> Object:
        """The fields that are left, without nulls, which say nothing."""
        return {name: value for name, value in self.found.items() if value != NULL}

    def extras(self, dialect: Dialect) -> Extras:
        """The fields that are left, as the extras of `dialect`."""
        rest = self.rest()
        return {dialect: rest} if rest else NO_EXTRAS

    def missing(self, name: str) -> InvalidRequest:
        """The error for a required field that is absent."""
        param = self.at(name)
        return InvalidRequest(f"Missing `{param}`: the field is required.", param=param)

    def wrong(self, name: str, reason: str) -> InvalidRequest:
        """The error for a field whose value is wrong."""
        param = self.at(name)
        return InvalidRequest(f"Invalid `{param}`: {reason}.", param=param)
