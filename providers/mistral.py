"""Mistral, whose chat API refuses unknown fields, has its own names for two, and requires a form of its own for the ids
of calls."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec
from msgspec import Raw

from plano.capabilities import Fields, decoded, encoded
from plano.losses import Losses
from plano.provider import Provider
from plano.providers import compatible
from plano.providers.paths import EMBEDDINGS
from plano.types import UpstreamDialect

_ITS_ID = re.compile(r"[a-zA-Z0-9]{9}")
"""The form of an id, from the API's error: "must be a-z, A-Z, 0-9, with a length of 9"."""

_CALLS = re.compile(rb'"tool_call(s|_id)"')
_objects = msgspec.json.Decoder(list[dict[str, Raw]])


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    # Usage comes with the last chunk of every stream, asked for or not, so nothing is lost without this.
    fields.pop("stream_options", None)
    its_ids(fields)


def its_ids(fields: Fields) -> None:
    """Give ids in Mistral's form to the calls that another vendor's model made earlier in the conversation. Equal ids
    stay equal, so that results still find their calls."""
    messages = fields.get("messages")
    if messages is None or _CALLS.search(messages) is None:
        return
    try:
        found = _objects.decode(messages)
        for message in found:
            _its_id(message, "tool_call_id")
            if (calls := message.get("tool_calls")) is not None and bytes(calls) != b"null":
                written = _objects.decode(calls)
                for call in written:
                    _its_id(call, "id")
                message["tool_calls"] = encoded(written)
    except msgspec.ValidationError:
        return  # not lists of messages and of calls: the upstream describes the mistake better
    fields["messages"] = encoded(found)


def _its_id(holder: dict[str, Raw], name: str) -> None:
    id_ = decoded(holder.get(name))
    if isinstance(id_, str) and not _ITS_ID.fullmatch(id_):
        holder[name] = encoded(sha256(id_.encode(errors="surrogatepass")).hexdigest()[:9])


def triggers(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The names of the fields that `prepare` looks for."""
    return ("stream_options", "tool_calls", "tool_call_id")


MISTRAL = Provider(
    name="mistral",
    base_url="https://api.mistral.ai",
    paths={"chat": "/chat/completions"},
    operations=EMBEDDINGS,
    key_variables=("MISTRAL_API_KEY",),
    takes=compatible.MISTRAL,
    prepare=prepare,
    triggers=triggers,
)
