"""The classes of upstreams' error responses, and the root causes of errors."""

from __future__ import annotations

from plano.dialects.failures import failure_of
from plano.errors import PlanoError, UpstreamFailure

__all__ = ["failure_of", "failure_of_reply", "root_of"]


def failure_of_reply(said: PlanoError, *, callers_key: bool) -> UpstreamFailure:
    """The class of an error response. A key that the caller has sent is the caller's to correct."""
    failure = failure_of(said)
    return "invalid" if callers_key and failure == "credential" else failure


def root_of(error: BaseException) -> BaseException:
    """The error at the beginning of the chain of causes."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
