"""One JSON object, read field by field; what nobody took is left over, and belongs to this dialect alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Raw

from plano.conversation import NO_EXTRAS, Extras
from plano.errors import InvalidRequest, UpstreamProtocolError

T = TypeVar("T")

Object: TypeAlias = dict[str, Raw]
Decoder: TypeAlias = msgspec.json.Decoder[T]

TEXT: Decoder[str] = msgspec.json.Decoder(str)
FLAG: Decoder[bool] = msgspec.json.Decoder(bool)
COUNT: Decoder[int] = msgspec.json.Decoder(int)
NUMBER: Decoder[float] = msgspec.json.Decoder(float)
LIST: Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
OBJECT: Decoder[Object] = msgspec.json.Decoder(Object)
TEXT_OR_LIST: Decoder[str | list[Raw]] = msgspec.json.Decoder(str | list[Raw])
TEXTS: Decoder[list[str]] = msgspec.json.Decoder(list[str])

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


class Fields:
    """An object's fields, taken out one by one; absent and null are the same."""

    __slots__ = ("_fields", "_path")

    def __init__(self, fields: Object, path: str) -> None:
        self._fields = fields
        self._path = path

    def take(self, name: str, decoder: Decoder[T]) -> T | None:
        """Raises InvalidRequest, with the field's path, if it is of another type."""
        raw = self._fields.pop(name, None)
        return None if raw is None or is_null(raw) else decode(decoder, raw, self.at(name))

    def need(self, name: str, decoder: Decoder[T]) -> T:
        """Like `take`; a field that is not there is an InvalidRequest too."""
        value = self.take(name, decoder)
        if value is None:
            path = self.at(name)
            raise InvalidRequest(f"Missing required parameter: `{path}`.", param=path)
        return value

    def raw(self, name: str) -> Raw | None:
        """The field's JSON as written."""
        raw = self._fields.pop(name, None)
        return None if raw is None or is_null(raw) else raw

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

    def at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def wrong(self, name: str, reason: str) -> InvalidRequest:
        path = self.at(name)
        return InvalidRequest(f"Invalid `{path}`: {reason}.", param=path)

    def left(self) -> Object:
        """What was not taken."""
        return {name: raw for name, raw in self._fields.items() if not is_null(raw)}

    def extras(self) -> Extras:
        left = self.left()
        return {"responses": left} if left else NO_EXTRAS


def decode(decoder: Decoder[T], raw: Raw | bytes, path: str) -> T:
    """Raises InvalidRequest, with `path` and what is inside of it."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        message = str(error)
        where = _WHERE.search(message)
        param = path + where.group(1) if where else path
        reason = message[: where.start()] if where else message
        raise InvalidRequest(f"Invalid `{param}`: {reason}.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Invalid `{path}`: {error}", param=path) from None
    except RecursionError:
        raise InvalidRequest(f"Invalid `{path}`: nested too deeply.", param=path) from None


def object_at(raw: Raw, path: str) -> Fields:
    """The fields of an object somewhere in a list."""
    return Fields(decode(OBJECT, raw, path), path)


def upstreams(read: Callable[..., T], *args: Any) -> T:
    """Call a reader of this package on what an upstream wrote: a wrong type there is the upstream's fault."""
    try:
        return read(*args)
    except InvalidRequest as error:
        raise UpstreamProtocolError(f"The upstream's reply could not be read: {error.message}") from None


def is_null(raw: Raw) -> bool:
    return memoryview(raw).nbytes == 4 and bytes(raw) == b"null"


def raw_of(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def one_line(data: bytes) -> bytes:
    """JSON without line breaks, as an event's `data:` line must be; what clients and upstreams wrote may have some."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data
