"""One try at one target."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from plano.conversation import Finish, Usage
from plano.dialects import CODECS
from plano.errors import UpstreamFailure
from plano.losses import Loss
from plano.provider import Target
from plano.types import Dialect


class Attempt:
    """One try at one target. Only `plano.upstream` and the relay that it makes write here; filters, metrics, logs,
    traces and the page read.

    All times are `time.perf_counter()` seconds; None means that it did not happen.

    Attributes:
        target: the target that is asked; None in `NOT_ASKED` alone.
        dialect: the API that it is asked in.
        losses: what could not be said in that API, and what of its reply could not be said in the client's.
        sent: the request was handed to the transport.
        answered: the reply's status and headers were there, or the failure that came instead.
        status: the upstream's HTTP status; 0 without one.
        upstream_id: what the upstream calls the request, in its `x-request-id`.
        failure: how it failed; None while it has not.
        first_piece: the first piece of the reply's body was there.
        first_token: the first piece with something in it that the model said.
        last_piece: the last one was.
        usage_said: the `usage` of a reply that came in one piece, as JSON.
        usage: tokens, as far as they are known. When the request is over, an estimate stands here where the upstream
            said nothing; `Usage.estimated` tells.
        finish: why the model stopped, where a stream said so.
        first, spoken, last: the first piece of the upstream's stream, the first in which the model said something, and
            the last few; frames are whole.
        events, bytes_streamed: how many frames the stream had from its first token on, and how many bytes.
    """

    # Few attempts set all of these, so most stay on the class.
    answered: float | None = None
    status: int = 0
    upstream_id: str | None = None
    failure: UpstreamFailure | None = None
    first_piece: float | None = None
    first_token: float | None = None
    last_piece: float | None = None
    usage_said: Raw | None = None
    usage: Usage | None = None
    finish: Finish | None = None
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
        """Note how the attempt failed. The first failure counts: what follows comes of it."""
        if self.failure is None:
            self.failure = failure

    def lose(self, losses: tuple[Loss, ...]) -> None:
        """Add what of the reply could not be said in the client's dialect."""
        self.losses += losses

    def note_id(self, id: bytes) -> None:
        """Note what the upstream calls the request."""
        self.upstream_id = id.decode("latin-1")

    def said(self) -> Usage | None:
        """The tokens that the upstream has named so far; of a stream that is mostly at its end."""
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
"""Stands where a request has no attempt, so that readers need not look whether there is one."""
