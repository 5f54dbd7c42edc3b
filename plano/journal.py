"""What happened to one request: filled in along the way, read by metrics, logs and traces when it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Literal, TypeAlias

from msgspec import Raw

from plano.conversation import Finish, Usage
from plano.errors import PlanoError, UpstreamFailure
from plano.losses import Loss
from plano.provider import Target
from plano.types import ANONYMOUS, Caller, ClientDialect, UpstreamDialect

Outcome: TypeAlias = Literal["completed", "failed", "aborted"]
"""`completed`: the reply went out whole, error replies included. `failed`: a stream broke after it had
begun. `aborted`: the client left first."""


_NONE: frozenset[str] = frozenset()


class Journal:
    """One per request, shared by the request, its response and every copy of either.

    All times are `time.perf_counter()` seconds; None means that it did not happen.

    Attributes:
        dialect: the client's.
        caller: who is asking, once the auth filter has said so.
        target: where the request goes, once the alias filter has said so.
        closers: what to call, with the request, soon after all is over, when everything here is final.
        started: the request's head was read.
        received: its body was there.
        sent: the last attempt was handed to the transport.
        answered: its reply's status and headers were there.
        first_piece: the first piece of its body was there.
        first_token: the first piece with something in it that the model said.
        last_piece: the last one was.
        ended: the last byte went to the client, or the client left.
        waited: seconds in all that upstreams were waited for until there was a response.
        waited_in_stream: seconds in all between asking for a piece of a stream and having it.
        sending: seconds in all that handing bytes to the client's connection took, waiting for it included.
        upstream_dialect: what the upstream was spoken to in.
        upstream_id: what the upstream calls the request, in its `x-request-id`.
        attempts: how often an upstream was asked.
        failures: what went wrong with upstreams: whose, and how (see `plano.errors.UPSTREAM_FAILURES`).
        usage_said: the `usage` of the upstream's reply as JSON, where it came in one piece.
        usage: tokens, once they are known; those in `estimated` (`input`, `output`) nobody said.
        losses: what could not be translated.
        bytes_in, bytes_out: of the bodies, on the client's side.
        releases: what lets go of each upstream connection the request had.
        weight: for how many requests the times of this one's filters stand.
        store_failed: the reply should have been stored, and could not be.
        first, last: the first piece of the upstream's stream and its last few; frames are whole.
        events, bytes_streamed: how many frames the upstream's stream had from its first token on, and bytes.
    """

    # What few requests touch and little code reads stays on the class: making one sets eight attributes, and not forty.
    caller: Caller = ANONYMOUS
    target: Target | None = None
    received: float | None = None
    sent: float | None = None
    answered: float | None = None
    first_piece: float | None = None
    first_token: float | None = None
    last_piece: float | None = None
    waited: float = 0.0
    waited_in_stream: float = 0.0
    sending: float = 0.0
    upstream_dialect: UpstreamDialect | None = None
    upstream_id: str | None = None
    attempts: int = 0
    status: int = 0
    finish: Finish | None = None
    usage_said: Raw | None = None
    usage: Usage | None = None
    weight: int = 1
    closers: tuple[Callable[[Any], None], ...] = ()
    store_failed: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    releases: tuple[Callable[[], Awaitable[None]], ...] = ()
    first: bytes | None = None
    last: Sequence[bytes] = ()
    events: int = 0
    bytes_streamed: int = 0

    def __init__(self, dialect: ClientDialect = "chat") -> None:
        self.dialect: ClientDialect = dialect
        self.started: float = perf_counter()
        self.ended: float | None = None
        self.outcome: Outcome | None = None
        self.error: PlanoError | None = None
        self.failures: tuple[tuple[Target, UpstreamFailure], ...] = ()
        self.losses: tuple[Loss, ...] = ()
        self.estimated: frozenset[str] = _NONE
