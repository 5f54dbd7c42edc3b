"""How plano reaches an upstream. httpx is imported here and below, and nowhere else in plano."""

from __future__ import annotations

from httpx import AsyncBaseTransport, AsyncHTTPTransport, MockTransport, Request, Response

from plano.transport.adapter import HTTPXSender
from plano.transport.errors import to_plano
from plano.transport.sender import NO_TIMEOUTS, Exchange, Outgoing, Sender, Timeouts

__all__ = [
    "NO_TIMEOUTS",
    "AsyncBaseTransport",
    "AsyncHTTPTransport",
    "Exchange",
    "HTTPXSender",
    "MockTransport",
    "Outgoing",
    "Request",
    "Response",
    "Sender",
    "Timeouts",
    "to_plano",
]
