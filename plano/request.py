"""A request as filters see it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from plano.candidates import Candidates
from plano.conversation import Conversation
from plano.dialects import CODECS, client_codec
from plano.dialects.chat.embeddings import read_embeddings, write_embeddings
from plano.errors import ModelNotFound, PlanoError
from plano.journal import Journal
from plano.losses import Loss, Losses
from plano.operations import CREATE, operation_of
from plano.provider import Target
from plano.types import ANONYMOUS, Caller, Dialect, Headers

_KINDS: dict[str, Any] = {"headers": Headers, "model": str | None, "raw": bytes}
"""The types of attributes that filters replace. Another one would fail far from the filter that gave it."""


class Request(Struct, frozen=True, kw_only=True, dict=True):
    """A client's request. Immutable: `request.replace(model="smart-model")` makes another.

    Attributes:
        dialect: the API that the body is written in.
        operation: `create` (a reply), `count_tokens`, `compact` (a summary of a conversation) or `embeddings`.
        model: the model's name as asked, or as a filter replaced it; None if the body has none.
        stream: whether the reply is wanted as a stream.
        headers: the client's headers.
        caller: the caller, once the auth filter has run.
        target: the target, once the alias filter has run.
        fallbacks: the names of models that the client wants to be asked if the first one fails.
        candidates: everything that may answer, the target first; None if that is all.
        id: the request's id, as in the `x-request-id` header.
        strict: whether losses in translation are errors.
        lost: fields that could not be said in the present dialect; the attempt that sends the request reports them.
        refusal: the fault in its body, or None; only the links in front of `intake` see a request that has one.
        state: a dictionary for filters, one per request, shared by all its copies.
        journal: times, losses and usage of this request.
    """

    dialect: Dialect
    operation: str = CREATE
    raw: bytes = b""
    raw_model: str | None = None
    edited: Conversation | None = None
    model: str | None = None
    stream: bool = False
    headers: Headers = Headers()
    caller: Caller = ANONYMOUS
    target: Target | None = None
    fallbacks: tuple[str, ...] = ()
    candidates: Candidates | None = None
    id: str = ""
    strict: bool = False
    lost: tuple[Loss, ...] = ()
    refusal: PlanoError | None = None
    state: dict[str, Any] = msgspec.field(default_factory=dict)
    journal: Journal = msgspec.field(default_factory=Journal)

    @cached_property
    def conversation(self) -> Conversation:
        """The request in the neutral model, decoded on first use. Each input of a request for embeddings is a user
        message of one part; see `plano.dialects.chat.embeddings`.

        Raises:
            InvalidRequest: the body is not what its API accepts; `param` is the field.
        """
        if self.edited is not None:
            conversation = self.edited
        else:
            operation = operation_of(self.operation)
            if operation.converses:
                conversation = client_codec(self.dialect).read_request(self.raw)
            elif operation.embeds:
                conversation = read_embeddings(self.raw)
            else:
                return Conversation(model=self.model)
        if conversation.model != self.model:
            conversation = msgspec.structs.replace(conversation, model=self.model)
        return conversation

    @property
    def body(self) -> bytes:
        """The body as it goes on: the client's bytes, or, after `replace(conversation=...)`, that conversation in the
        same dialect. The model's name in it is replaced when it is sent."""
        return self.raw if self.edited is None else self._written

    @cached_property
    def _written(self) -> bytes:
        assert self.edited is not None, "only an edited conversation has to be written"
        if operation_of(self.operation).embeds:
            return write_embeddings(self.raw, self.edited)
        return CODECS[self.dialect].write_request(self.edited, Losses())

    def replace(self, *, conversation: Conversation | None = None, **changes: Any) -> Request:
        """A copy with other attributes.

        `conversation=` changes the content, in any dialect; the copy's `model` and `stream` follow it. In a request for
        embeddings it changes only the texts of `input`.
        `raw=` changes the bytes of the body; give `raw_model=` with it if they name another model.

        Raises:
            TypeError: there is no such attribute, or the body, the model's name or the headers are of another type.
        """
        if conversation is not None:
            changes = {"model": conversation.model, "stream": conversation.stream, "edited": conversation} | changes
        elif "raw" in changes:
            changes.setdefault("edited", None)
        for name, value in changes.items():
            if name in _KINDS and not isinstance(value, _KINDS[name]):
                raise TypeError(f"`{name}` of a request cannot be of type {type(value).__name__}")
        return msgspec.structs.replace(self, **changes)

    def require_target(self) -> Target:
        """The target; raises ModelNotFound if the model's name was not resolved."""
        if self.target is None:
            raise ModelNotFound(self.model or "")
        return self.target
