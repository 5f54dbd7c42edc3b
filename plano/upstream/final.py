"""The error that a client is told when every try has failed."""

from __future__ import annotations

from copy import copy
from math import ceil

from plano.dialects import client_codec
from plano.errors import PlanoError, UpstreamError, UpstreamStatus
from plano.request import Request
from plano.response import Response
from plano.upstream.tries import Try

NO_RETRY = (b"x-should-retry", b"false")
"""The header that keeps the SDKs of OpenAI and Anthropic from trying again what was tried here already."""


def final(request: Request, done: Try, back_in: float | None) -> Response:
    """The answer made of the most useful failure.

    Args:
        back_in: seconds until the first of the targets takes requests again; None if that is not known.

    Raises:
        PlanoError: the failure was not a response of an upstream.
    """
    waits = back_in if done.failure in ("rate_limit", "overloaded") else None
    if done.failure == "quota" and not done.step.target.passthrough_auth:
        raise _out_of_quota(done)
    response, error = done.response, done.error
    if response is not None:
        if done.failure == "overloaded":
            response.status = _overloaded(request)
        if waits is not None:
            response.set_header(b"retry-after", b"%d" % max(1, ceil(waits)))
        if response.status >= 500:
            request.journal.told = (*request.journal.told, NO_RETRY)
        return response
    assert error is not None, "a try that failed has a response or an error"
    raise _told(request, error, done, waits)


def _told(request: Request, error: PlanoError, done: Try, waits: float | None) -> PlanoError:
    error = copy(error)
    if done.failure == "overloaded":
        error.status, error.kind = _overloaded(request), "overloaded"
    if waits is not None:
        error.retry_after = waits
    if error.status >= 500:
        request.journal.told = (*request.journal.told, NO_RETRY)
    return error


def _overloaded(request: Request) -> int:
    return client_codec(request.journal.dialect).conventions.overloaded


def _out_of_quota(done: Try) -> UpstreamError:
    name = done.step.target.provider.name
    return UpstreamStatus(
        f"The provider `{name}` says that the gateway's account has no quota left for {done.step.target.name}.",
        status=429,
        kind="rate_limit",
        code="insufficient_quota",
    )
