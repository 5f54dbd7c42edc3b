"""The names of upstreams' failures, and the root causes of errors."""

from __future__ import annotations

from plano.errors import (
    UpstreamError,
    UpstreamFailure,
    UpstreamProtocolError,
    UpstreamRefusedKey,
    UpstreamTimeout,
    UpstreamUnavailable,
)


def root_of(error: BaseException) -> BaseException:
    """The error at the beginning of the chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def failure_of(error: UpstreamError) -> UpstreamFailure:
    for kind, name in _FAILURES:
        if isinstance(error, kind):
            return name
    return failure_of_status(error.status)


def failure_of_status(status: int) -> UpstreamFailure:
    if status == 429:
        return "rate_limit"
    return "invalid" if status < 500 else "server"


_FAILURES: tuple[tuple[type[UpstreamError], UpstreamFailure], ...] = (
    (UpstreamRefusedKey, "credential"),
    (UpstreamUnavailable, "connect"),
    (UpstreamTimeout, "timeout"),
    (UpstreamProtocolError, "protocol"),
)
