"""Reads JSON into structs. A client's fault raises InvalidRequest with the field's path, an upstream's fault
UpstreamProtocolError."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from plano.errors import InvalidRequest, UpstreamProtocolError

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""The exceptions of decoding: not JSON, JSON of another shape, not UTF-8, or nested too deeply."""

UNFIT = (InvalidRequest, *UNREADABLE)
"""The exceptions of reading an upstream's JSON with the readers that requests have."""

CUT_OFF = "The upstream's stream ended before the reply was complete."
SILENT = "The upstream's reply is empty and does not say why."

_ANY_OBJECT = msgspec.json.Decoder(dict[str, Raw])

_PATH = re.compile(r" - at `(?:key in )?\$\.?(.*)`$", re.DOTALL)


def request(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a client's body.

    Raises:
        InvalidRequest: it is empty, not UTF-8, not JSON, or nested too deeply; or a field has the wrong type, and
            `param` is its path (`messages[0].role`).
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not body.strip():
            raise InvalidRequest("The request body is empty; JSON was expected.") from None
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None


def _invalid(message: str) -> InvalidRequest:
    path = _PATH.search(message)
    if path is None:
        return InvalidRequest(f"Invalid request body: {message}.")
    param = path.group(1)
    return InvalidRequest(f"Invalid `{param}`: {message[: path.start()]}.", param=param)


def upstream(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode JSON that an upstream sent.

    Raises:
        UpstreamProtocolError: it is not JSON of the expected shape, or not UTF-8.
    """
    try:
        if not body.isascii():
            body.decode()  # the decoder does not check values that it skips, and some of them are passed on
        return decoder.decode(body)
    except UNREADABLE as error:
        raise UpstreamProtocolError(f"The upstream's reply could not be read: {error}") from None


def upstreams(read: Callable[..., T], *args: Any) -> T:
    """Read an upstream's JSON with a reader for requests, so that a wrong type is the upstream's fault.

    Raises:
        UpstreamProtocolError: the reader raised one of `UNFIT`.
    """
    try:
        return read(*args)
    except UNFIT as error:
        raise misread(error) from None


def misread(error: Exception) -> UpstreamProtocolError:
    """The UpstreamProtocolError that stands for `error`, one of `UNFIT`."""
    message = error.message if isinstance(error, InvalidRequest) else str(error)
    return UpstreamProtocolError(f"The upstream's reply could not be read: {message}")


def is_object(text: str) -> bool:
    """Whether `text` is one whole JSON object, as a call's arguments should be."""
    return maybe(_ANY_OBJECT, text) is not None


def maybe(decoder: msgspec.json.Decoder[T], body: bytes | Raw | str) -> T | None:
    """Decode a body, or give None if it is of another shape or no JSON at all."""
    try:
        return decoder.decode(body)
    except UNREADABLE:
        return None
