"""Errors as the responses that clients of each dialect expect."""

from __future__ import annotations

import logging

from plano.dialects import client_codec
from plano.errors import GatewayFailed, PlanoError, forget_frames
from plano.faults import log_fault
from plano.request import Request
from plano.request_ids import told_id
from plano.response import Response
from plano.types import CLIENT_DIALECTS, RawHeaders

logger = logging.getLogger("plano")


def error_response(request: Request, error: PlanoError, *, headers: RawHeaders | None = None) -> Response:
    """An error as the response a client of the request's dialect expects, or, where only upstreams speak that, the
    request's own client. `headers` are added to."""
    headers = [] if headers is None else headers
    headers.append((b"content-type", b"application/json"))
    headers += headers_of(error)
    dialect = request.dialect if request.dialect in CLIENT_DIALECTS else request.journal.dialect
    codec = client_codec(dialect)
    body = codec.write_error(error, request_id=told_id(request, headers))
    response = Response(request, status=codec.status_of(error), headers=headers, body=body)
    response.error = error
    return response


def headers_of(error: PlanoError) -> RawHeaders:
    """The headers that belong to an error: its own, and `retry-after` in whole seconds, at least one."""
    if error.retry_after is None:
        return list(error.headers)
    return [*error.headers, (b"retry-after", str(max(1, round(error.retry_after))).encode())]


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
