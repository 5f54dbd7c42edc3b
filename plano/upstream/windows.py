"""Tells whether a request fits into a model's context window.

The answer decides only whether a target is worth an attempt, so it says yes in case of doubt: the estimate of the
input counts alone, without the reply, and a target whose window is not known is always worth one.
"""

from __future__ import annotations

from plano.dialects import reading
from plano.errors import PlanoError
from plano.operations import operation_of
from plano.provider import Target
from plano.request import Request
from plano.translation.estimate import estimate_tokens

_BEHIND_A_URL = (b"image", b"file", b"document")
"""The words in a body that can stand for much more than its bytes."""

_ESTIMATE = "_estimated_tokens"


def fits(request: Request, target: Target) -> bool:
    """Whether a request is small enough for the target's window, as far as both are known.

    A body with fewer bytes than the window has tokens is not read, because a token has at least one byte.
    """
    window = target.context_window
    if window is None or (len(request.body) <= window and not any(map(request.body.__contains__, _BEHIND_A_URL))):
        return True
    return estimated(request) <= window


def larger(target: Target, failed: Target) -> bool:
    """Whether a target's window is larger than that of one in which the request had no room, as far as both are known.

    A window that is not known counts as larger than any."""
    if target.context_window is None:
        return True
    return failed.context_window is None or target.context_window > failed.context_window


def estimated(request: Request) -> int:
    """The estimated tokens of a request's input; they are worked out once for each request. 0 if it has no conversation
    that can be read."""
    kept: int | None = request.__dict__.get(_ESTIMATE)
    if kept is None:
        kept = request.__dict__[_ESTIMATE] = _estimate(request)
    return kept


def _estimate(request: Request) -> int:
    if not operation_of(request.operation).converses:
        return 0
    try:
        return estimate_tokens(request.conversation)
    except (PlanoError, *reading.UNREADABLE):
        return 0  # the target says better what is wrong with it
