"""The routes to stored objects: responses, chat completions and conversations, of the caller's own tenant."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from plano.dialects import CLIENT_CODECS, reading
from plano.dialects.responses.items import read_item
from plano.edge.answers import send_error, send_json
from plano.edge.body import ClientLeft, late_body, read_body
from plano.edge.coded_body import decoded
from plano.errors import InvalidRequest, MethodNotAllowed, NotFound, PlanoError, StateUnreadable
from plano.losses import Losses
from plano.state import Item, Order, Store, Turn, history, items, record
from plano.state.record import DELETED, NOBODY, Record
from plano.state.store_per_loop import Stores
from plano.types import Caller, Headers, Receive, Scope, Send

logger = logging.getLogger("plano")

MAX_ITEMS = 20
"""The most items that can be added at once (API reference, "Create items")."""


class Call(NamedTuple):
    """A request to one of these routes; `ids` are those in its path."""

    store: Store
    tenant: str
    ids: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


Answering: TypeAlias = Callable[[Call], Awaitable[Any]]
WhoAsks: TypeAlias = Callable[[Scope, Headers], Awaitable[Caller]]


class Stored:
    """An endpoint over the store. Errors are in OpenAI's form; another tenant's objects are not found.

    Args:
        stores: the store, or None if the gateway keeps none.
        who: gives the caller of a scope; raises Unauthenticated.
        body_limit: bytes.
        body_deadline: seconds for a body to arrive.
        methods: the function that answers each HTTP method.
    """

    def __init__(
        self,
        stores: Stores | None,
        who: WhoAsks,
        methods: Mapping[str, Answering],
        *,
        body_limit: int,
        body_deadline: float,
    ) -> None:
        self._stores = stores
        self._who = who
        self._methods = methods
        self._body_limit = body_limit
        self._body_deadline = body_deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope["headers"])
        try:
            found = await self._answer(scope, headers, receive)
        except ClientLeft:
            return
        except PlanoError as error:
            await send_error(scope, headers, error, send)
        except Exception:
            logger.exception("a request failed inside plano")
            await send_error(scope, headers, PlanoError("The gateway failed on this request."), send)
        else:
            await send_json(scope, send, 200, msgspec.json.encode(found))

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Any:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        answer = self._methods.get(method)
        if answer is None:
            allow = ", ".join(self._methods)
            raise MethodNotAllowed(f"{scope['method'][:20]} is not possible here, only {allow}.", allow=allow)
        caller = await self._who(scope, headers)
        if self._stores is None:
            raise NotFound("The gateway stores nothing: `state_storage.type` is `none`.")
        body = b""
        if method == "POST":
            body = await self._read(receive, headers)
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        ids = {name: str(value).rstrip("/") for name, value in scope["path_params"].items()}
        try:
            return await answer(Call(self._stores(), caller.tenant, ids, query, body))
        except reading.UNREADABLE as error:  # the client's own JSON was read, or refused, before
            raise StateUnreadable(ids.get("item") or ids.get("id", "")) from error

    async def _read(self, receive: Receive, headers: Headers) -> bytes:
        try:
            async with asyncio.timeout(self._body_deadline):
                body = await read_body(receive, headers, limit=self._body_limit)
        except TimeoutError:
            raise late_body(self._body_deadline) from None
        return decoded(headers, body, limit=self._body_limit)[1]


# --- responses -------------------------------------------------------------------------------------


async def get_response(call: Call) -> Raw:
    """`GET /v1/responses/{id}`: the Response object as the client got it."""
    if call.query.get("stream", "false").lower() == "true":
        raise InvalidRequest("A stored response is not streamed a second time.", param="stream")
    return Raw((await _response(call)).reply)


async def delete_response(call: Call) -> dict[str, Any]:
    """`DELETE /v1/responses/{id}`; responses that continue it cannot be continued further."""
    id_ = await _delete(call, "responses", "Response")
    return {"id": id_, "object": "response", "deleted": True}


async def list_input_items(call: Call) -> dict[str, Any]:
    """`GET /v1/responses/{id}/input_items`: everything the response was made of, earlier turns included."""
    found = await _response(call)
    limit, after, order = _page(call.query)
    chain = [_read(turn) for turn in await call.store.get_chain(call.tenant, found.id)]
    listed = [item for turn in chain[:-1] for item in items.named(history.items(turn, None, Losses()), turn.id)]
    listed += items.named(history.listed(found.asked), f"{found.id}in")
    if order == "desc":
        listed.reverse()
    if after is not None:
        places = [place for place, (id_, _) in enumerate(listed) if id_ == after]
        if not places:
            raise InvalidRequest(f"No item with id '{after[:200]}' in this response.", param="after")
        listed = listed[places[-1] + 1 :]
    return _list(listed[:limit], more=len(listed) > limit)


async def cancel_response(call: Call) -> Any:
    """`POST /v1/responses/{id}/cancel`, which is always refused, because nothing runs in the background."""
    await _response(call)
    raise InvalidRequest("Cannot cancel a synchronous response: only background responses can be cancelled.")


async def _response(call: Call) -> Record:
    return await _find(call, "responses", "Response")


# --- chat completions ------------------------------------------------------------------------------


async def get_completion(call: Call) -> Raw:
    """`GET /v1/chat/completions/{id}`; a streamed completion is assembled from its pieces."""
    found = await _find(call, "chat", "Chat completion")
    if not found.head.streamed:
        return Raw(found.reply)
    asked = CLIENT_CODECS["chat"].read_request(found.asked)
    return Raw(CLIENT_CODECS["chat"].write_reply(history.completion(found), asked, Losses()))


async def delete_completion(call: Call) -> dict[str, Any]:
    """`DELETE /v1/chat/completions/{id}`."""
    id_ = await _delete(call, "chat", "Chat completion")
    return {"id": id_, "object": "chat.completion.deleted", "deleted": True}


async def _find(call: Call, kind: str, what: str) -> Record:
    return _read(await _turn(call, kind, what))


async def _turn(call: Call, kind: str, what: str) -> Turn:
    turn = await call.store.get(call.tenant, call.ids["id"])
    if turn is None or record.kind_of(turn) != kind:
        raise NotFound(f"{what} with id '{call.ids['id'][:200]}' not found.")
    return turn


def _read(turn: Turn) -> Record:
    found = record.read(turn)
    if not record.intact(found):
        raise StateUnreadable(turn.id)
    return found


async def _delete(call: Call, kind: str, what: str) -> str:
    """Delete the contents of a turn. Its id stays, so that no upstream that keeps the response too is asked for it."""
    turn = await _turn(call, kind, what)  # which may be unreadable
    await call.store.delete(call.tenant, turn.id)
    await call.store.put(call.tenant, Turn(id=turn.id, kind=DELETED, created=time.time(), payload=b""))
    return turn.id


# --- conversations ---------------------------------------------------------------------------------


class _Head(Struct):
    """The stored fields of a conversation, without its items."""

    created_at: int
    metadata: dict[str, str] = {}


class _Create(Struct):
    items: list[Raw] | None = None
    metadata: dict[str, str] | None = None


class _Update(Struct):
    metadata: dict[str, str] | None


class _Add(Struct):
    items: list[Raw]


_HEAD = msgspec.json.Decoder(_Head)
_CREATE = msgspec.json.Decoder(_Create)
_UPDATE = msgspec.json.Decoder(_Update)
_ADD = msgspec.json.Decoder(_Add)
_encode = msgspec.json.Encoder().encode


async def create_conversation(call: Call) -> dict[str, Any]:
    """`POST /v1/conversations`."""
    asked = reading.request(_CREATE, call.body) if call.body.strip() else _Create()
    head = _Head(int(time.time()), _metadata(asked.metadata))
    id_ = f"conv_{os.urandom(24).hex()}"
    await call.store.create_conversation(call.tenant, id_, _encode(head), _new_items(asked.items or []))
    return _conversation(id_, head)


async def get_conversation(call: Call) -> dict[str, Any]:
    """`GET /v1/conversations/{id}`."""
    return _conversation(call.ids["id"], await _head(call))


async def update_conversation(call: Call) -> dict[str, Any]:
    """`POST /v1/conversations/{id}`: replaces the metadata."""
    head = await _head(call)
    head.metadata = _metadata(reading.request(_UPDATE, call.body).metadata)
    if not await call.store.update_conversation(call.tenant, call.ids["id"], _encode(head)):
        raise _no_conversation(call)
    return _conversation(call.ids["id"], head)


async def delete_conversation(call: Call) -> dict[str, Any]:
    """`DELETE /v1/conversations/{id}`, its items included."""
    if not await call.store.delete_conversation(call.tenant, call.ids["id"]):
        raise _no_conversation(call)
    return {"id": call.ids["id"], "object": "conversation.deleted", "deleted": True}


async def add_items(call: Call) -> dict[str, Any]:
    """`POST /v1/conversations/{id}/items`."""
    added = _new_items(reading.request(_ADD, call.body).items)
    if not await call.store.append_items(call.tenant, call.ids["id"], added):
        raise _no_conversation(call)
    return _list([(item.id, record.read_item(item)[1]) for item in added], more=False)


async def list_items(call: Call) -> dict[str, Any]:
    """`GET /v1/conversations/{id}/items`."""
    limit, after, order = _page(call.query)
    page = await call.store.list_items(call.tenant, call.ids["id"], limit=limit, after=after, order=order)
    if page is None:
        raise _no_conversation(call)
    return _list([(item.id, record.read_item(item)[1]) for item in page.items], more=page.more)


async def get_item(call: Call) -> Raw:
    """`GET /v1/conversations/{id}/items/{item}`."""
    item = await call.store.get_item(call.tenant, call.ids["id"], call.ids["item"])
    if item is None:
        raise _no_item(call)
    return record.read_item(item)[1]


async def delete_item(call: Call) -> dict[str, Any]:
    """`DELETE /v1/conversations/{id}/items/{item}`; answers with the conversation."""
    head = await _head(call)
    if not await call.store.delete_item(call.tenant, call.ids["id"], call.ids["item"]):
        raise _no_item(call)
    return _conversation(call.ids["id"], head)


async def _head(call: Call) -> _Head:
    head = await call.store.get_conversation(call.tenant, call.ids["id"])
    if head is None:
        raise _no_conversation(call)
    return _HEAD.decode(head)


def _conversation(id_: str, head: _Head) -> dict[str, Any]:
    return {"id": id_, "object": "conversation", "created_at": head.created_at, "metadata": head.metadata}


def _metadata(given: dict[str, str] | None) -> dict[str, str]:
    """The metadata, checked against the API reference: at most 16 pairs, keys of 64 and values of 512 characters."""
    given = given or {}
    if len(given) > 16 or any(len(key) > 64 or len(value) > 512 for key, value in given.items()):
        raise InvalidRequest(
            "Invalid `metadata`: at most 16 pairs, keys of at most 64 and values of at most 512 characters.",
            param="metadata",
        )
    return given


def _new_items(given: list[Raw]) -> list[Item]:
    if len(given) > MAX_ITEMS:
        raise InvalidRequest(f"Invalid `items`: at most {MAX_ITEMS} at a time.", param="items")
    for place, raw in enumerate(given):
        read_item(raw, f"items[{place}]")
    return [record.pack_item(id_, NOBODY, item) for id_, item in items.named(given, os.urandom(12).hex())]


def _no_conversation(call: Call) -> NotFound:
    return NotFound(f"Conversation with id '{call.ids['id'][:200]}' not found.")


def _no_item(call: Call) -> NotFound:
    return NotFound(f"Item with id '{call.ids['item'][:200]}' not found in '{call.ids['id'][:200]}'.")


# --- lists -----------------------------------------------------------------------------------------


def _page(query: Mapping[str, str]) -> tuple[int, str | None, Order]:
    limit = query.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= 100:
        raise InvalidRequest("Invalid `limit`: Expected an integer from 1 to 100.", param="limit")
    order = query.get("order", "desc")
    if order not in get_args(Order):
        raise InvalidRequest("Invalid `order`: Expected `asc` or `desc`.", param="order")
    return int(limit), query.get("after"), "asc" if order == "asc" else "desc"


def _list(page: list[tuple[str, Raw]], *, more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [item for _, item in page],
        "first_id": page[0][0] if page else "",
        "last_id": page[-1][0] if page else "",
        "has_more": more,
    }


ROUTES: Mapping[str, Mapping[str, Answering]] = {
    "/v1/responses/{id}": {"GET": get_response, "DELETE": delete_response},
    "/v1/responses/{id}/input_items": {"GET": list_input_items},
    "/v1/responses/{id}/cancel": {"POST": cancel_response},
    "/v1/chat/completions/{id}": {"GET": get_completion, "DELETE": delete_completion},
    "/v1/conversations": {"POST": create_conversation},
    "/v1/conversations/{id}": {
        "GET": get_conversation,
        "POST": update_conversation,
        "DELETE": delete_conversation,
    },
    "/v1/conversations/{id}/items": {"GET": list_items, "POST": add_items},
    "/v1/conversations/{id}/items/{item}": {"GET": get_item, "DELETE": delete_item},
}
"""The functions that answer each path, by HTTP method."""
