"""Errors as the responses that clients of each dialect expect."""

from __future__ import annotations

import logging

from plano.dialects import client_codec
from plano.errors import FilterError, GatewayFailed, MethodNotAllowed, PlanoError, StateUnreadable, forget_frames
from plano.request import Request
from plano.response import Response
from plano.types import RawHeaders

logger = logging.getLogger("plano")


def error_response(request: Request, error: PlanoError, *, headers: RawHeaders | None = None) -> Response:
    """An error as the response a client of the request's dialect expects."""
    headers = [] if headers is None else headers
    headers.append((b"content-type", b"application/json"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    body = client_codec(request.dialect).write_error(error)
    response = Response(request, status=error.status, headers=headers, body=body)
    response.error = error
    return response


def failed_response(request: Request, error: Exception) -> Response:
    """A failure as the response that the request's client expects. A fault of the gateway is logged."""
    if isinstance(error, PlanoError):
        log_fault(error)
    else:
        logger.error("a request failed inside plano", exc_info=error)
        cause, error = error, GatewayFailed()
        error.__cause__ = cause
    forget_frames(error)  # because they hold the request
    return error_response(request, error)


def log_fault(error: PlanoError) -> None:
    """Log an error that neither the client nor the upstream is to blame for, with the traceback of its cause."""
    if isinstance(error, StateUnreadable):
        logger.error("%s (%s)", error, error.__cause__)
    if isinstance(error, FilterError | GatewayFailed):
        logger.error("%s", error, exc_info=error.__cause__)
