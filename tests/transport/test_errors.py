"""Foreign errors and what plano calls them."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from plano.errors import GatewayExhausted, UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.transport import HTTPXSender, MockTransport, Outgoing, to_plano
from plano.transport.errors import FOREIGN, Disconnected, Stale, Unreadable

TABLE: list[tuple[Exception, type[UpstreamError], int]] = [
    (httpx.ConnectTimeout(""), UpstreamTimeout, 504),
    (httpx.ReadTimeout(""), UpstreamTimeout, 504),
    (httpx.WriteTimeout(""), UpstreamTimeout, 504),
    (httpx.PoolTimeout(""), UpstreamUnavailable, 503),
    (httpx.ConnectError(""), UpstreamUnavailable, 502),
    (httpx.ReadError(""), UpstreamUnavailable, 502),
    (httpx.WriteError(""), UpstreamUnavailable, 502),
    (httpx.CloseError(""), UpstreamUnavailable, 502),
    (httpx.ProxyError(""), UpstreamUnavailable, 502),
    (Disconnected(""), UpstreamUnavailable, 502),
    (Stale(untouched=False), UpstreamUnavailable, 502),
    (httpx.RemoteProtocolError(""), UpstreamProtocolError, 502),
    (httpx.LocalProtocolError(""), UpstreamProtocolError, 502),
    (httpx.DecodingError(""), UpstreamProtocolError, 502),
    (Unreadable(""), UpstreamProtocolError, 502),
    (httpx.UnsupportedProtocol(""), UpstreamUnavailable, 502),
    (httpx.InvalidURL(""), UpstreamUnavailable, 502),
    (httpx.StreamConsumed(), UpstreamProtocolError, 502),
    (httpx.TooManyRedirects(""), UpstreamUnavailable, 502),
    (TimeoutError(), UpstreamTimeout, 504),
    (TimeoutError(), UpstreamTimeout, 504),
    (ConnectionResetError(), UpstreamUnavailable, 502),
    (BrokenPipeError(), UpstreamUnavailable, 502),
    (socket.gaierror(), UpstreamUnavailable, 502),
    (ssl.SSLCertVerificationError(), UpstreamUnavailable, 502),
]


@pytest.mark.parametrize(("foreign", "ours", "status"), TABLE, ids=lambda value: type(value).__name__)
def test_every_foreign_error_has_a_name_of_ours(foreign: Exception, ours: type[UpstreamError], status: int) -> None:
    error = to_plano(foreign)
    assert type(error) is ours
    assert error.status == status
    assert error.message.endswith(".")
    assert isinstance(foreign, FOREIGN)


UNSENT = (
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ConnectError,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    socket.gaierror,
    ssl.SSLCertVerificationError,
)


@pytest.mark.parametrize("foreign", [row[0] for row in TABLE], ids=lambda value: type(value).__name__)
def test_an_error_tells_whether_the_upstream_may_have_seen_the_request(foreign: Exception) -> None:
    error = to_plano(foreign)
    assert isinstance(error, UpstreamError)
    assert error.sent is not isinstance(foreign, UNSENT)


def test_a_kept_connection_that_closed_untouched_has_sent_nothing() -> None:
    for untouched in (True, False):
        error = to_plano(Stale(untouched=untouched))
        assert isinstance(error, UpstreamError)
        assert error.sent is not untouched


@pytest.mark.parametrize("error", [TABLE[0][0], TABLE[4][0], OSError("to 10.0.0.7 at key=secret")])
async def test_a_senders_error_names_no_host_and_keeps_its_cause(error: Exception) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(UpstreamError) as raised:
        await HTTPXSender(MockTransport(fail)).send(Outgoing(url="http://10.0.0.7/?key=secret", headers=[]))
    assert "10.0.0.7" not in raised.value.message
    assert "secret" not in raised.value.message
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_a_connection_for_which_this_machine_lacks_something_is_not_the_upstreams_failure(number: int) -> None:
    error = httpx.ConnectError("")
    error.__cause__ = RuntimeError()
    error.__cause__.__cause__ = OSError(number, "")
    ours = to_plano(error)
    assert type(ours) is GatewayExhausted
    assert (ours.status, ours.kind) == (503, "overloaded")


async def test_a_programmers_mistake_is_not_dressed_up_as_the_upstreams() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        await HTTPXSender(MockTransport(fail)).send(Outgoing(url="http://10.0.0.7/", headers=[]))
