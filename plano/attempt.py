"""One try at one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Raw

from plano.conversation import Finish, Usage
from plano.dialects import CODECS
from plano.dialects.failures import failure_of
from plano.errors import UPSTREAM_FAILURES, UpstreamError, UpstreamFailure
from plano.losses import Loss
from plano.provider import Target
from plano.types import Dialect

AttemptOutcome: TypeAlias = Literal["answered", "abandoned"] | UpstreamFailure
"""The end of an attempt: its reply came, it was broken off because its client left or another one was faster, or it
failed."""

ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = ("answered", "abandoned", *UPSTREAM_FAILURES)


class Attempt:
    """One try at one target. Only `plano.upstream` and the relay that it makes write here; filters, metrics, logs,
    traces and the page read.

    All times are `time.perf_counter()` seconds; None means that it did not happen.

    Attributes:
        target: the target that is asked; None only in `NOT_ASKED`.
        dialect: the API that it is asked in.
        losses: fields of the request that this API cannot say, and fields of its reply that the client's API cannot.
        sent: when the request was handed to the transport.
        answered: when the reply's status and headers had come, or the failure in their place.
        status: the upstream's HTTP status; 0 without one.
        upstream_id: the upstream's id for the request, from its `x-request-id`.
        failure: the class of its failure; None while it has not failed.
        retry_after: the seconds after which the upstream says that it may be asked again; None if it does not say.
        first_piece: when the first piece of the reply's body came.
        first_token: when the first piece with output of the model came.
        last_piece: when the last piece came.
        usage_said: the `usage` of a reply that came in one piece, as JSON.
        usage: tokens, as far as they are known. When the request is over, an estimate stands here where the upstream
            said nothing; `Usage.estimated` tells.
        finish: why the model stopped, where a stream said so.
        because: the failure for which it was made; None for the first.
        pause: seconds that were waited before it, because of the attempts before it.
        decided: when it was certain whether its reply is the client's; None where no other attempt was possible.
        abandoned: whether it was broken off before that.
        first, spoken, last: the first piece of the upstream's stream, the first with output of the model, and the last
            few; frames are whole.
        events, bytes_streamed: the numbers of frames and of bytes in the stream, from its first token on.
    """

    # Few attempts set all of these, so most stay on the class.
    answered: float | None = None
    status: int = 0
    upstream_id: str | None = None
    failure: UpstreamFailure | None = None
    retry_after: float | None = None
    first_piece: float | None = None
    first_token: float | None = None
    last_piece: float | None = None
    usage_said: Raw | None = None
    usage: Usage | None = None
    finish: Finish | None = None
    because: UpstreamFailure | None = None
    pause: float = 0.0
    decided: float | None = None
    abandoned: bool = False
    first: bytes | None = None
    spoken: bytes | None = None
    last: Sequence[bytes] = ()
    events: int = 0
    bytes_streamed: int = 0

    def __init__(
        self, target: Target | None, dialect: Dialect | None, losses: tuple[Loss, ...] = (), sent: float | None = None
    ) -> None:
        self.target = target
        self.dialect = dialect
        self.losses = losses
        self.sent = sent

    def fail(self, failure: UpstreamFailure) -> None:
        """Note how the attempt failed. Only the first failure counts, because later ones follow from it."""
        if self.failure is None:
            self.failure = failure

    def fail_with(self, error: UpstreamError) -> None:
        """Note the error that came before any output reached anybody. It tells more than `broken_stream`, which may
        have been noted when the stream broke inside a filter's generator."""
        if self.failure is None or self.failure == "broken_stream":
            self.failure = failure_of(error)
        if self.retry_after is None:
            self.retry_after = error.retry_after

    @property
    def outcome(self) -> AttemptOutcome:
        """The way in which it ended."""
        if self.failure is not None:
            return self.failure
        return "answered" if self.status and not self.abandoned else "abandoned"

    def lose(self, losses: tuple[Loss, ...]) -> None:
        """Add losses of the reply: fields that the client's dialect cannot say."""
        self.losses += losses

    def note_id(self, id: bytes) -> None:
        """Note the upstream's id for the request."""
        self.upstream_id = id.decode("latin-1")

    def said(self) -> Usage | None:
        """The tokens that the upstream has reported so far; most streams report them at their end."""
        if self.usage is not None or self.dialect is None:
            return self.usage
        codec = CODECS[self.dialect]
        if self.first is not None:
            return codec.peek_stream(self.first, self.last).usage
        return None if self.usage_said is None else codec.usage_of(self.usage_said)


class _NotAsked(Attempt):
    def __setattr__(self, name: str, value: object) -> None:
        assert "sent" not in vars(self), "no upstream was asked, so there is nothing to note"
        super().__setattr__(name, value)


NOT_ASKED = _NotAsked(None, None)
"""Stands in for the attempt of a request that has none, so that readers need not check for one."""
