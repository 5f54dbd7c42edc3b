"""The operations: what can be asked of a model, and where.

Adding a call that is passed through as it is takes one row here, and a path in the row of each provider that has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plano.types import ClientDialect


class Operation(Struct, frozen=True, kw_only=True):
    """One thing to ask.

    Attributes:
        name: what `Request.operation`, metrics and logs call it.
        paths: where clients ask for it, by the dialect they do it in.
        gen_ai: OpenTelemetry's `gen_ai.operation.name`, where it has a word for it.
        replies: what comes back is a reply of the model: it can be translated, streamed, stored and read by filters.
            Everything else goes to upstreams of the client's own dialect, as it came.
        reply_has: the top-level field without which a body is no answer to it; None where the dialect says which.
        converses: the request holds a conversation.
        embeds: the request holds texts, in `input`.
        uses_tokens: it is paid for by the token.
        estimated: where an upstream does not have it, the gateway answers with an estimate.
        often_missing: the dialects whose compatible servers mostly lack it: their 404 or 405 says no more than that.
    """

    name: str
    paths: Mapping[ClientDialect, str]
    gen_ai: str
    replies: bool = False
    reply_has: str | None = None
    converses: bool = False
    embeds: bool = False
    uses_tokens: bool = True
    estimated: bool = False
    often_missing: frozenset[ClientDialect] = frozenset()


CREATE = "create"

OPERATIONS: Mapping[str, Operation] = {
    row.name: row
    for row in (
        Operation(
            name=CREATE,
            paths={"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"},
            gen_ai="chat",
            replies=True,
            converses=True,
        ),
        Operation(
            name="count_tokens",
            paths={"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens"},
            gen_ai="count_tokens",
            reply_has="input_tokens",
            converses=True,
            uses_tokens=False,
            estimated=True,
            often_missing=frozenset({"responses"}),
        ),
        Operation(
            name="embeddings",
            paths={"chat": "/v1/embeddings"},
            gen_ai="embeddings",
            reply_has="data",
            embeds=True,
        ),
    )
}
"""Every operation by its name; each of their paths goes through the pipeline."""

OTHER = Operation(name="other", paths={}, gen_ai="other", uses_tokens=False)
"""Stands for everything that asks no model, such as the list of models, where the user's filters see it."""


def operation_of(name: str) -> Operation:
    """The row of `Request.operation`."""
    return OPERATIONS.get(name, OTHER)


class EndpointPath(Struct, frozen=True, kw_only=True):
    """Where and how something is asked of a server, as a provider's row says it.

    Attributes:
        path: after the prefix, with its query if it has one. `{model}` in it is the upstream's model id, URL-encoded.
        streamed: the same for a reply that is to be streamed, where that is asked for elsewhere.
        omits: the top-level fields (`model`, `stream`) that stand in the path, and not in the body.
        frames: how a stream is cut; see `plano.frames`.
    """

    path: str
    streamed: str | None = None
    omits: tuple[str, ...] = ()
    frames: str = "sse"


class Endpoint(Struct, frozen=True):
    """The same with full URLs; `streamed` is `url` where both are asked for in one place."""

    url: str
    streamed: str
    omits: tuple[str, ...] = ()
    frames: str = "sse"
