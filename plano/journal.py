"""The record of one request: filled in along the way, read by metrics, logs and traces when it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal, TypeAlias

from plano.attempt import NOT_ASKED, Attempt
from plano.conversation import Usage
from plano.dialects.codec import Gauge
from plano.errors import PlanoError, UpstreamFailure
from plano.losses import Loss
from plano.provider import Target
from plano.types import ANONYMOUS, Caller, ClientDialect, UpstreamDialect

Outcome: TypeAlias = Literal["completed", "failed", "aborted"]
"""`completed`: the reply went out whole, error replies included. `failed`: a stream broke after it had
begun. `aborted`: the client left first."""

LimitedFor: TypeAlias = Literal[
    "requests",
    "tokens",
    "input_tokens",
    "output_tokens",
    "in_flight",
    "budget_spent",
    "budget_reserved",
    "admission",
    "target_full",
]
"""The reasons for which a request is refused: amounts of a rule, a budget that is spent or that running requests have
reserved, no slot in the process, and no slot at an entry."""

HedgeOutcome: TypeAlias = Literal["won", "lost", "unneeded"]
"""The outcome of the second of two attempts at once: it answered, it did not, or there was no need to send it."""


class Journal:
    """The record of a request, shared by the request, its response and every copy of either.

    All times are `time.perf_counter()` seconds; None means that it did not happen.

    Attributes:
        dialect: the client's dialect.
        asked: the model's name in the client's body; None if it has none.
        caller: the caller, once the auth filter has run.
        resolved: the target that the model's name resolved to, once the alias filter has run.
        attempts: the attempts at upstreams, in order.
        answer: the attempt whose reply goes to the client; until that is known, the last one. `NOT_ASKED` before any,
            and where a filter answers by itself after the last one failed.
        closers: functions to call with the request soon after it is over, when everything here is final.
        started: when the request's head was read.
        received: when its body was complete.
        ended: when the last byte went to the client, or the client left.
        waited: seconds spent waiting for upstreams until there was a response.
        waited_in_stream: seconds spent waiting for the pieces of a stream.
        sending: seconds spent handing bytes to the client's connection, waiting for it included.
        status: the HTTP status that was sent to the client.
        outcome: the way in which it ended; None while it goes on.
        error: the error that the client was told instead of a reply, or at the end of a broken one.
        bytes_in, bytes_out: sizes of the client's request body, without content codings, and of the body sent to it.
        releases: functions that release the upstream connections which the request had.
        judged: whether the limits for requests have let it pass.
        gauges: the limits of the whole request, which hold for every target that it goes to.
        told: headers that tell the client its limits and its attempts; they go out with a reply or an error.
        limited_by: the name of the rule or budget that last refused it, or one of its targets; `admission`, or
            `max_in_flight` of an entry.
        limited_for: the reason of that refusal.
        size: a body, and the size that limits found it to have.
        reserved, settled: the `tokens` and `dollars` that limits reserved for it, and what was used in their place.
        weight: the number of requests that this sample of the filters' times represents.
        editor: the name of the filter that last changed the conversation; None if none did.
        store_failed: whether the reply should have been stored and could not be.
        committed: when the client's reply was certain to be the answering attempt's; None where only one was possible.
        moved: the failure because of which another target than the first one answers, or `budget`.
        hedges: the outcome of each second attempt that could have been made at the same time as another.
    """

    # Few requests touch these, so their defaults stay on the class: to make a journal sets two attributes, not twenty.
    asked: str | None = None
    caller: Caller = ANONYMOUS
    resolved: Target | None = None
    attempts: tuple[Attempt, ...] = ()
    answer: Attempt = NOT_ASKED
    received: float | None = None
    waited: float = 0.0
    waited_in_stream: float = 0.0
    sending: float = 0.0
    status: int = 0
    weight: int = 1
    closers: tuple[Callable[[Any], None], ...] = ()
    editor: str | None = None
    store_failed: bool = False
    committed: float | None = None
    moved: str | None = None
    hedges: tuple[HedgeOutcome, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    releases: tuple[Callable[[], Awaitable[None]], ...] = ()
    judged: bool = False
    gauges: Sequence[Gauge] = ()
    told: Sequence[tuple[bytes, bytes]] = ()
    limited_by: str | None = None
    limited_for: LimitedFor | None = None
    size: tuple[bytes, Any] | None = None
    reserved: Mapping[str, float] | None = None
    settled: Mapping[str, float] | None = None
    outcome: Outcome | None = None
    error: PlanoError | None = None
    ended: float | None = None

    def __init__(self, dialect: ClientDialect = "chat") -> None:
        self.dialect: ClientDialect = dialect
        self.started: float = perf_counter()

    def begin(self, attempt: Attempt) -> None:
        """Note another attempt."""
        self.attempts += (attempt,)
        self.answer = attempt

    def limit(self, by: str, reason: LimitedFor) -> None:
        """Note that a limit refused the request, or one of its targets."""
        self.limited_by, self.limited_for = by, reason

    def note_error(self, error: PlanoError | None) -> None:
        """Note the error that the client is told instead of a reply, or at its end; None for no error."""
        self.error = error

    @property
    def target(self) -> Target | None:
        """The target that answered, or, where none was asked, the one that the model's name resolved to."""
        return self.answer.target or self.resolved

    @property
    def upstream_dialect(self) -> UpstreamDialect | None:
        """The upstream dialect in which the answer was asked for."""
        return self.answer.dialect

    @property
    def usage(self) -> Usage | None:
        """The answer's tokens."""
        return self.answer.usage

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The fields that could not be translated on the way to the upstream and back."""
        return self.answer.losses

    @property
    def failures(self) -> list[tuple[Target, UpstreamFailure]]:
        """The attempts that failed, and how."""
        return [
            (attempt.target, attempt.failure)
            for attempt in self.attempts
            if attempt.failure is not None and attempt.target is not None
        ]
