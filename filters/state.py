"""Remembers conversations, so that a client can continue from any id that it has seen."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from plano.attempt import Attempt
from plano.dialects import client_codec, reading
from plano.errors import InvalidRequest, NotFound, StateUnreadable, StoreUnavailable, TooLarge
from plano.journal import Journal
from plano.losses import Losses
from plano.operations import OPERATIONS
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.state import Item, Store, Turn, history, items, record, references, replies
from plano.state import continuation as asked
from plano.state.continuation import AskedCompletion, AskedResponse
from plano.state.record import NOBODY, Head, Origin, Record
from plano.state.replies import CompletionStream, StoredReply
from plano.state.storing import CompletionStage, ResponseStage
from plano.translation.translate import refuse_losses
from plano.types import new_id

_NO_ITEMS = (b"", b'"', b"n")
_NOT_STORED = (b"x-plano-stored", b"false")
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class _Past(NamedTuple):
    """The history that a request continues: turns, or a conversation's items."""

    records: list[Record]
    items: list[Item]
    after: Turn | None

    def __bool__(self) -> bool:
        return bool(self.records or self.items)


class _Turn(Struct, frozen=True, gc=False):
    """The part of a turn that is known before its reply.

    Attributes:
        target: the target that the model's name resolved to.
        attempt: the attempt that answers; None where that is known only at the end, as of a stream that is kept alive.
    """

    tenant: str
    target: Target
    attempt: Attempt | None
    asked: bytes | Raw
    after: Turn | None
    conversation: str | None = None

    def origin(self, journal: Journal) -> Origin:
        """The origin of the reply: the target that answered, which may be another than the one that was asked for."""
        attempt = self.attempt or journal.answer
        if attempt.target is None:
            return Origin(self.target.server)
        return Origin(attempt.target.server, attempt.dialect or "chat")


_NO_PAST = _Past([], [], None)


class State:
    """Continues conversations: `previous_response_id` and `conversation` of the responses API, and
    `metadata.response_id` of chat completions.

    The history is put in front of the request, in the form that its provider takes. The reply is stored under its id
    before its body or its last event is sent. A reply that failed, or whose client left, is not stored. Everything
    belongs to the caller's tenant.

    Args:
        store: returns the store for the running event loop.
        chat_completions: whether chat completions are stored and continued too.
        upstream_store: the `store` that is sent to providers; None for the client's own.
        one_tenant: whether all callers have one tenant. Only then, or with the caller's own key, may an unknown id go
            on to a provider that stores responses itself, because it could be another tenant's there. The same holds
            for items, approvals and containers; see `plano.state.references`.

    Raises:
        InvalidRequest: 400 with the code `previous_response_not_found`.
        NotFound: 404 for an unknown conversation, and for an item that may be another tenant's.
        TooLarge: 413 for a history that is too long, before anything is sent.
        StoreUnavailable: 503 if the request needs the store. A request that does not need it is answered and marked as
            not stored, in the header `x-plano-stored: false` or in a comment before a stream's last event.
        StateUnreadable: 503 if the history is damaged.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        *,
        chat_completions: bool = True,
        upstream_store: bool | None = None,
        one_tenant: bool = False,
    ) -> None:
        self._store = store
        self._chat_completions = chat_completions
        self._upstream_store = upstream_store
        self._one_tenant = one_tenant

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        if request.dialect == "chat" and self._chat_completions and request.operation == "create":
            said = asked.of_completion(request.body)
            if said.store is False and said.previous is None:
                return call_next(request)
            return self._completion(request, said, call_next)
        if request.dialect == "responses":
            return self._response(request, call_next)
        return call_next(request)

    # The functions that run at a stream's end hold the journal and not the response, because that holds the stream.

    # --- chat completions ---

    async def _completion(self, request: Request, said: AskedCompletion, call_next: CallNext) -> Response:
        after: Turn | None = None
        onward = request
        if said.previous is not None:
            chain = await self._chain(request, said.previous, "metadata.response_id")
            if chain is None:
                raise _unknown(said.previous, "metadata.response_id")
            after = chain[-1]
            records = [record.read(turn) for turn in chain]
            try:
                onward = _continued_completion(request, records)
            except (InvalidRequest, *reading.UNREADABLE) as error:
                _refuse_damaged(records, error)
                raise
        if said.store and self._upstream_store is False:
            onward = _with_fields(onward, {"store": Raw(b"false")})
        response = await call_next(onward)
        if said.store is False or not response.ok:
            return response
        turn = _Turn(request.caller.tenant, request.require_target(), response.attempt, request.body, after)
        if response.pieces is not None:
            store = self._store()
            put = partial(self._put_stream, request.journal, turn)
            return response.through(CompletionStage(put, limit=store.max_item_bytes, at_once=store.at_once))
        assert response.body is not None, "a response has either a body or pieces"
        id_ = replies.completion_id(response.body)
        if id_ is not None:
            stored = self._put_completion(request.journal, turn, id_, [response.body])
            if not (stored if stored.__class__ is bool else await stored):  # type: ignore[misc]
                response.headers.append(_NOT_STORED)
        return response

    async def _put_stream(self, journal: Journal, turn: _Turn, stream: CompletionStream) -> bool:
        if stream.too_long:
            journal.store_failed = True
            return False
        id_ = stream.id()
        if id_ is None:
            return True
        stored = self._put_completion(journal, turn, id_, stream.pieces, streamed=True)
        return stored if isinstance(stored, bool) else await stored

    def _put_completion(
        self, journal: Journal, turn: _Turn, id_: str, reply: list[bytes], *, streamed: bool = False
    ) -> bool | Awaitable[bool]:
        """Stores a chat completion. Returns False, and notes it in the journal, if it could not be stored."""
        payload = record.pack(Head(turn.origin(journal), len(turn.asked), streamed), turn.asked, *reply)
        return self._put(journal, turn, id_, "chat", payload)

    # --- responses ---

    async def _response(self, request: Request, call_next: CallNext) -> Response:
        said = asked.of_response(request.body)
        target = request.require_target()
        past = await self._past(request, said, target)
        if past is None:  # only this provider knows the history
            return await call_next(replace(request, candidates=None))
        self._check(said, past)
        try:
            onward = self._onward(request, said, past, target)
        except (InvalidRequest, *reading.UNREADABLE) as error:
            _refuse_damaged(past.records, error)
            raise
        response = await call_next(onward)
        if not (response.ok and OPERATIONS[request.operation].replies):
            return response
        echo = self._echo(said)
        store = said.store is not False
        if not (store or echo):
            return response
        turn = _Turn(request.caller.tenant, target, response.attempt, said.input, past.after, said.conversation)
        if response.pieces is not None:
            put = partial(self._put_response, request.journal, turn) if store else None
            return response.through(ResponseStage(put, echo, at_once=self._store().at_once))
        assert response.body is not None, "a response has either a body or pieces"
        body = replies.with_fields(response.body, echo) if echo else response.body
        if store and not await self._put_response(request.journal, turn, replies.response(body)):
            response.headers.append(_NOT_STORED)
        return response.with_body(body) if echo else response

    async def _put_response(self, journal: Journal, turn: _Turn, reply: StoredReply | None) -> bool:
        """Stores a response. Returns False, and notes it in the journal, if it could not be stored. A response without
        an id, or one that is not complete, need not be stored."""
        if reply is None:
            return True
        origin = turn.origin(journal)
        kept = origin.dialect == "responses" and reply.kept and self._upstream_store is not False
        origin = replace(origin, kept=kept)
        if turn.conversation is not None and not await self._append(journal, turn, origin, reply):
            return False
        head = Head(origin, len(turn.asked), False, turn.conversation)
        stored = self._put(journal, turn, reply.id, "responses", record.pack(head, turn.asked, reply.body))
        return stored if isinstance(stored, bool) else await stored

    async def _append(self, journal: Journal, turn: _Turn, origin: Origin, reply: StoredReply) -> bool:
        """Adds input and output to the conversation; returns as `_put_response` does."""
        assert turn.conversation is not None, "only called for a conversation"
        said = items.named(history.listed(turn.asked), new_id())
        done = items.named(reply.output, new_id())
        added = [record.pack_item(id_, NOBODY, item) for id_, item in said]
        added += [record.pack_item(id_, origin, item) for id_, item in done]
        try:
            if await self._store().append_items(turn.tenant, turn.conversation, added):
                return True
        except _NOT_KEPT:
            pass
        journal.store_failed = True
        return False

    async def _past(self, request: Request, said: AskedResponse, target: Target) -> _Past | None:
        """The history that the request continues; None if the provider has it and may be asked for it."""
        if said.previous is None and said.conversation is None:
            return _NO_PAST
        if said.previous is not None:
            chain = await self._chain(request, said.previous, "previous_response_id")
            if chain is not None:
                return _Past([record.read(turn) for turn in chain], [], chain[-1])
        elif said.conversation is not None:
            page = await self._store().list_items(request.caller.tenant, said.conversation)
            if page is not None:
                return _Past([], page.items, None)
        if request.dialect in target.dialects and self._may_pass_on(target):
            return None
        if said.previous is not None:
            raise _unknown(said.previous, "previous_response_id")
        raise NotFound(f"Conversation with id '{(said.conversation or '')[:200]}' not found.", param="conversation")

    def _may_pass_on(self, target: Target) -> bool:
        return self._one_tenant or target.passthrough_auth

    def _check(self, said: AskedResponse, past: _Past) -> None:
        """Raises TooLarge now if the request is too large to be stored, because that would fail after the reply."""
        store = self._store()
        if said.store and len(said.input) > store.max_item_bytes:
            raise _too_large(len(said.input), store.max_item_bytes, "input")
        if said.conversation is not None and said.store is not False:
            size = len(said.input) + sum(len(item.payload) for item in past.items)
            if size > store.max_chain_bytes:
                raise _too_large(size, store.max_chain_bytes, "conversation")

    def _onward(self, request: Request, said: AskedResponse, past: _Past, target: Target) -> Request:
        """The request that is sent on; the same one if nothing has to change."""
        fields: dict[str, Raw | None] = {}
        if self._upstream_store is not None and self._upstream_store is not (said.store is not False):
            fields["store"] = Raw(_encode(self._upstream_store))
        if said.previous is not None or said.conversation is not None:
            fields |= {"previous_response_id": None, "conversation": None}
        native = request.dialect in target.dialects
        if not native and any(found.kind == "chat" for found in past.records):
            return _neutral(_with_fields(request, fields), past.records)
        if past:
            losses = Losses()
            server = target.server if native else None
            found = [item for turn in past.records for item in history.items(turn, server, losses)]
            for kept in past.items:
                origin, item = record.read_item(kept)
                found += history.fitted([item], origin, server, losses)
            request = _note(request, losses)
            fields["input"] = _joined([*found, *history.listed(said.input)])
        if native and not self._may_pass_on(target):
            losses = Losses()
            fields |= _own_references(losses, fields.get("input") or said.input, said.tools, past, target)
            request = _note(request, losses)
        return _with_fields(request, fields) if fields else request

    def _echo(self, said: AskedResponse) -> dict[str, Raw]:
        """The fields of a Response that repeat the request's and that the provider was not told."""
        echo: dict[str, Raw] = {}
        if said.previous is not None:
            echo["previous_response_id"] = Raw(_encode(said.previous))
        if said.conversation is not None:
            echo["conversation"] = Raw(_encode({"id": said.conversation}))
        if self._upstream_store is not None:
            echo["store"] = Raw(_encode(said.store is not False))
        return echo

    # --- the store ---

    async def _chain(self, request: Request, id_: str, param: str) -> list[Turn] | None:
        """The turns up to `id_`; None if the id is not known."""
        try:
            chain = await self._store().get_chain(request.caller.tenant, id_)
        except TooLarge as error:
            error.param = param
            raise
        if not chain:
            return None
        last = record.read(chain[-1])
        if last.kind == "deleted":
            raise _unknown(id_, param)
        if last.head.conversation is not None:
            known = last.head.conversation
            raise InvalidRequest(f"'{id_[:200]}' is part of `conversation` '{known}': continue that.", param=param)
        return chain

    def _put(self, journal: Journal, turn: _Turn, id_: str, kind: str, payload: bytes) -> bool | Awaitable[bool]:
        """Stores a turn and returns whether that worked; an awaitable if the store has to be waited for."""
        made, store = Turn(id=id_, kind=kind, created=time.time(), payload=payload), self._store()
        if not store.at_once:
            return self._put_there(store, journal, turn, made)
        try:
            store.put_at_once(turn.tenant, made, after=turn.after)
        except _NOT_KEPT:
            journal.store_failed = True
            return False
        return True

    async def _put_there(self, store: Store, journal: Journal, turn: _Turn, made: Turn) -> bool:
        try:
            await store.put(turn.tenant, made, after=turn.after)
        except _NOT_KEPT:
            journal.store_failed = True
            return False
        return True


_NOT_KEPT = (StoreUnavailable, TooLarge, InvalidRequest)
"""The errors of a reply that cannot be stored: no store is available, the reply is too long, or its id is invalid."""


def _continued_completion(request: Request, records: list[Record]) -> Request:
    """A chat completion with its history in front of it."""
    fields = _OBJECT.decode(request.body)
    metadata = _OBJECT.decode(fields["metadata"])
    del metadata["response_id"]
    changes: dict[str, Raw | None] = {"metadata": Raw(_encode(metadata)) if metadata else None}
    target = request.require_target()
    if "chat" not in target.dialects:
        return _neutral(_with_fields(request, changes), records)
    losses = Losses()
    before = history.messages(records, target.server, losses)
    own = history.listed(fields.get("messages", b""))
    return _with_fields(
        _note(request, losses), changes | {"messages": _joined([*before, *history.unsaid(own, before)])}
    )


def _neutral(request: Request, records: list[Record]) -> Request:
    """The request with its history in front of it in the neutral model, because it has to be translated anyway."""
    own = client_codec(request.dialect).read_request(request.body)
    return request.replace(conversation=history.conversation(records, replace(own, model=request.model)))


def _with_fields(request: Request, fields: Mapping[str, Raw | None]) -> Request:
    """The request with top-level fields of its body replaced, or removed where the value is None."""
    body = {name: raw for name, raw in {**_OBJECT.decode(request.body), **fields}.items() if raw is not None}
    model = request.raw_model if request.edited is None else request.edited.model
    return request.replace(raw=_encode(body), raw_model=model)


def _joined(found: Sequence[Raw]) -> Raw:
    return Raw(b"[" + b",".join(found) + b"]")


def _note(request: Request, losses: Losses) -> Request:
    """The request with more losses. Raises UnsupportedConversion if it is strict."""
    if not len(losses):
        return request
    if request.strict:
        refuse_losses(losses, request.dialect)
    return request.replace(lost=(*request.lost, *losses))


def _own_references(losses: Losses, given: Raw, tools: Raw, past: _Past, target: Target) -> dict[str, Raw | None]:
    """The fields to change so that nothing refers to another tenant's objects; see `plano.state.references`."""
    known = references.Known(target.server, past.records, past.items)
    if tools:
        references.judge_tools(tools, known)
    if bytes(memoryview(given)[:1]) in _NO_ITEMS:
        return {}
    items = history.listed(given)
    found = references.own(items, known, losses)
    return {} if found == items else {"input": _joined(found)}


def _refuse_damaged(records: Sequence[Record], error: Exception) -> None:
    """Raises StateUnreadable if stored turns are the reason that a request cannot be built."""
    damaged = [found for found in records if not record.intact(found)]
    if damaged or (records and not isinstance(error, InvalidRequest)):
        raise StateUnreadable((damaged or records)[-1].id) from error


def _unknown(id_: str, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"Previous response with id '{id_[:200]}' not found.", code="previous_response_not_found", param=param
    )


def _too_large(size: int, limit: int, param: str) -> TooLarge:
    return TooLarge(
        f"`{param}` is {size} bytes long; the gateway stores at most {limit}. Send `store: false` to continue without.",
        code="item_too_large",
        param=param,
    )
