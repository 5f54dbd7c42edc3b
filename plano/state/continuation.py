"""The fields of a request that concern state, read without the rest of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from plano.dialects import names, reading
from plano.errors import InvalidRequest

ABSENT = Raw()


class AskedResponse(NamedTuple):
    """The parts of a request for a response that state reads: the ids that it continues, whether it may be stored, its
    input and its tools."""

    previous: str | None
    conversation: str | None
    store: bool | None
    input: Raw
    tools: Raw


class AskedCompletion(NamedTuple):
    """The parts of a request for a chat completion that state reads: the id that it continues, and whether it may be
    stored."""

    previous: str | None
    store: bool | None


class _Named(Struct):
    id: str


class _Response(Struct):
    previous_response_id: str | None = None
    conversation: Raw = ABSENT
    store: Raw = ABSENT
    input: Raw = ABSENT
    tools: Raw = ABSENT


class _Completion(Struct):
    metadata: Raw = ABSENT
    store: Raw = ABSENT


_RESPONSE = msgspec.json.Decoder(_Response)
_COMPLETION = msgspec.json.Decoder(_Completion)
_CONVERSATION = msgspec.json.Decoder(str | _Named | None)
_METADATA_NAMES = frozenset({"response_id"})
_CONVERSATION_NAMES = frozenset({"id"})
_TEXT = msgspec.json.Decoder(str)
_NOTHING = AskedCompletion(None, None)


def of_response(body: bytes) -> AskedResponse:
    """Reads the body of a request for a response.

    Raises:
        InvalidRequest: a field has the wrong type, or both kinds of history are named at once.
    """
    found = reading.request(_RESPONSE, body)
    conversation = _conversation(found.conversation)
    previous = found.previous_response_id or None
    if previous is not None and conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` cannot both be given: a request continues one of them.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    return AskedResponse(previous, conversation, _flag(found.store), found.input, found.tools)


def _conversation(raw: Raw) -> str | None:
    if not raw:
        return None
    if bytes(memoryview(raw)[:1]) == b"{":
        names.read(raw, _CONVERSATION_NAMES, "conversation.")
    try:
        found = _CONVERSATION.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"Invalid `conversation`: {error}.", param="conversation") from None
    return found.id if isinstance(found, _Named) else found


def of_completion(body: bytes) -> AskedCompletion:
    """Reads the body of a request for a chat completion.

    Raises:
        InvalidRequest: a field has the wrong type.
    """
    # Decoding skips the other fields, which is faster than a search for these names.
    found = reading.request(_COMPLETION, body)
    if not (found.metadata or found.store):
        return _NOTHING
    return AskedCompletion(_response_id(found.metadata), _flag(found.store))


def _flag(raw: Raw) -> bool | None:
    """A boolean, or None for anything else, which the upstream is left to judge."""
    return {b"true": True, b"false": False}.get(bytes(memoryview(raw)[:8]))


def _response_id(metadata: Raw) -> str | None:
    if bytes(memoryview(metadata)[:1]) != b"{":
        return None
    raw = names.read(metadata, _METADATA_NAMES, "metadata.").get("response_id")
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _TEXT.decode(raw)
    except msgspec.ValidationError:
        raise InvalidRequest("Invalid `metadata.response_id`: Expected `str`.", param="metadata.response_id") from None
