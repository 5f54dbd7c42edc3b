"""The neutral model as JSON, and back: for filters in other processes, caches and recordings.

Structs are objects with the names of their fields, absent ones left out; parts and events have a `type` (`text`,
`tool_call`, `text_delta`, …). JSON that plano does not interpret is kept byte for byte; `bytes` are base64. An
error is an object with its class in plano's tree as `error`, and its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import DecodeError, Meta, Raw, Struct, ValidationError

from plano import errors
from plano.conversation import Conversation, Event, Model, Reply
from plano.errors import ConfigError, Kind, PlanoError

T = TypeVar("T")

Reader: TypeAlias = Callable[[Raw], Any]


def to_json(value: Model) -> bytes:
    """Write any struct of the neutral model as JSON."""
    return _encode(value)


def conversation_of(data: bytes) -> Conversation:
    """Read a conversation.

    Raises:
        msgspec.DecodeError: it is no JSON; or, as its subclass ValidationError, no conversation.
    """
    return cast(Conversation, _read(Conversation, data))


def reply_of(data: bytes) -> Reply:
    """Read a reply; raises like `conversation_of`."""
    return cast(Reply, _read(Reply, data))


def event_of(data: bytes) -> Event:
    """Read an event of a stream; raises like `conversation_of`."""
    return cast(Event, _read(Event, data))


def model_of(kind: type[T], data: bytes) -> T:
    """Read any other struct of the model; raises like `conversation_of`."""
    return cast(T, _read(kind, data))


# --- errors ---------------------------------------------------------------------------------------


class _Error(Struct):
    """The fields of an error, of any class."""

    message: str
    status: Annotated[int, Meta(ge=400, le=599)]
    kind: Kind
    error: str = PlanoError.__name__
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    headers: list[tuple[str, str]] | None = None
    filter_name: str | None = None
    problems: list[str] | None = None


_ERROR = msgspec.json.Decoder(_Error)


def _error(raw: Raw) -> PlanoError:
    """Read an error; one of an unknown class becomes a PlanoError."""
    found = _ERROR.decode(raw)
    kind = _classes().get(found.error, PlanoError)
    error = kind.__new__(kind, found.message)
    if isinstance(error, ConfigError):
        ConfigError.__init__(error, found.problems or found.message)
    else:
        PlanoError.__init__(error, found.message)
    of_all = ("code", "param", "retry_after")
    said = msgspec.structs.asdict(found)
    vars(error).update({name: said for name, said in said.items() if said is not None or name in of_all})
    del vars(error)["error"]
    if found.headers is not None:
        error.headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
    return error


@cache
def _classes() -> dict[str, type[PlanoError]]:
    return {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PlanoError)
    }


# --- writing --------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # msgspec writes no other than `dict`
        return dict(value)
    if not isinstance(value, PlanoError):
        raise NotImplementedError(f"{type(value).__name__} is not a type of the neutral model")
    known = next(kind for kind in type(value).__mro__ if kind.__module__ == errors.__name__)
    said = {name: found for name in _Error.__struct_fields__ if (found := vars(value).get(name)) is not None}
    if value.headers:
        said["headers"] = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in value.headers]
    else:
        del said["headers"]
    return {"error": known.__name__, **said}


_encode = msgspec.json.Encoder(enc_hook=_plain).encode

# --- reading --------------------------------------------------------------------------------------
#
# msgspec cannot read `Raw | None`, the type of most fields that hold uninterpreted JSON. So structs are read field by
# field here, and msgspec reads every type that has no `Raw` in it.

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_NULL = Raw(b"null")


class _Tagged(Struct):
    type: str


_TAGGED = msgspec.json.Decoder(_Tagged)


def _read(kind: Any, data: bytes) -> Any:
    try:
        return _reader(kind)(Raw(data.strip()))
    except RecursionError:
        raise DecodeError("nested too deeply") from None


@cache
def _reader(kind: Any) -> Reader:
    """The function that reads a value of an annotated type."""
    if kind is Raw:
        return lambda raw: raw
    if kind is PlanoError:
        return _error
    if _is_struct(kind):
        return partial(_struct, kind)
    if not _holds_raw(kind):
        return msgspec.json.Decoder(kind).decode
    if get_origin(kind) is tuple:
        item = _reader(get_args(kind)[0])
        return lambda raw: tuple(map(item, _LIST.decode(raw)))
    assert get_origin(kind) in (Union, UnionType), f"no field of the model is {kind}"
    return _union(get_args(kind))


def _union(kinds: tuple[Any, ...]) -> Reader:
    some = [kind for kind in kinds if kind is not NoneType]
    read = _reader(some[0]) if len(some) == 1 else partial(_one_of, {_tag(kind): kind for kind in some})
    return read if len(some) == len(kinds) else lambda raw: None if raw == _NULL else read(raw)


def _one_of(kinds: Mapping[str, type[Struct]], raw: Raw) -> Any:
    type_ = _TAGGED.decode(raw).type
    if type_ not in kinds:
        raise ValidationError(f"Unknown type `{type_[:100]}`, expected one of {', '.join(kinds)}")
    return _struct(kinds[type_], raw)


def _struct(kind: type[Struct], raw: Raw) -> Any:
    found = _OBJECT.decode(raw)
    values: dict[str, Any] = {}
    for name, key, read in _fields(kind):
        if key in found:
            try:
                values[name] = read(found[key])
            except ValidationError as error:
                raise ValidationError(f"{key}: {error}") from None
    try:
        return kind(**values)
    except TypeError as error:  # a required field is missing
        raise ValidationError(f"{_tag(kind)}: {error}") from None


@cache
def _fields(kind: type[Struct]) -> list[tuple[str, str, Reader]]:
    return [(field.name, field.encode_name, _reader(field.type)) for field in msgspec.structs.fields(kind)]


def _tag(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag or kind.__name__)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _holds_raw(kind: Any) -> bool:
    """Whether a type holds `Raw` in a place where msgspec cannot read it. In a mapping it can."""
    if kind is Raw or kind is PlanoError or _is_struct(kind):
        return True
    return get_origin(kind) is not Mapping and any(map(_holds_raw, get_args(kind)))
