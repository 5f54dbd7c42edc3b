"""The way to an upstream. httpx is imported in this package and nowhere else in plano."""

from __future__ import annotations

from httpx import AsyncBaseTransport, AsyncHTTPTransport, MockTransport, Request, Response

from plano.transport.adapter import HTTPXSender
from plano.transport.choose import Transports
from plano.transport.errors import to_plano
from plano.transport.http1 import HTTP1Transport
from plano.transport.pool import Limits
from plano.transport.sender import NO_TIMEOUTS, Exchange, Outgoing, Sender, Timeouts
from plano.transport.tls import tls_context

__all__ = [
    "NO_TIMEOUTS",
    "AsyncBaseTransport",
    "AsyncHTTPTransport",
    "Exchange",
    "HTTP1Transport",
    "HTTPXSender",
    "Limits",
    "MockTransport",
    "Outgoing",
    "Request",
    "Response",
    "Sender",
    "Timeouts",
    "Transports",
    "tls_context",
    "to_plano",
]
