"""One JSON object of a request, read field by field, so that what nobody asked for is left over."""

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

NULL = Raw(b"null")
ABSENT = Raw()
"""The default of a struct's unread field."""

STRING = msgspec.json.Decoder(str)
BOOLEAN = msgspec.json.Decoder(bool)
INTEGER = msgspec.json.Decoder(int)
NUMBER = msgspec.json.Decoder(float)
OBJECT = msgspec.json.Decoder(Object)
OBJECTS = msgspec.json.Decoder(list[Object])
RAWS = msgspec.json.Decoder(list[Raw])

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


def present(raw: Raw) -> bool:
    """A struct's unread field says something: it is neither absent nor null."""
    return raw is not ABSENT and raw != NULL and len(raw) > 0


class Fields:
    """Takes fields out of `found`; what is left in the end is what this project does not know."""

    __slots__ = ("found", "path")

    def __init__(self, found: Object, path: str = "") -> None:
        self.found = found
        self.path = path

    def take(self, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """The field's value, or None where it is absent or null.

        Raises:
            InvalidRequest: it is of another type; `param` is its path.
        """
        raw = self.found.pop(name, None)
        if raw is None or raw == NULL:
            return None
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise self._wrong(name, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._wrong(name, f"not valid JSON: {error}") from None
        except RecursionError:
            raise self._wrong(name, "nested too deeply") from None

    def need(self, name: str, decoder: msgspec.json.Decoder[T]) -> T:
        """Like `take`, for a field that must be there."""
        value = self.take(name, decoder)
        if value is None:
            param = self.at(name)
            raise InvalidRequest(f"Missing `{param}`: the field is required.", param=param)
        return value

    def raw(self, name: str) -> Raw | None:
        """The field's JSON, unread; None where it is absent or null."""
        raw = self.found.pop(name, None)
        return None if raw is None or raw == NULL else raw

    def nested(self, name: str) -> Fields | None:
        found = self.take(name, OBJECT)
        return None if found is None else Fields(found, self.at(name))

    def each(self, name: str) -> list[Fields]:
        """The objects of a list; none where the list is absent or null."""
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

    def _wrong(self, name: str, message: str) -> InvalidRequest:
        where = _WHERE.search(message)
        param = self.at(name) + (where.group(1) if where else "")
        reason = message[: where.start()] if where else message
        return InvalidRequest(f"Invalid `{param}`: {reason}.", param=param)
