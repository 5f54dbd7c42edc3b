"""Which way out a request takes."""

from __future__ import annotations

import pytest

from plano.errors import ConfigError, UpstreamUnavailable
from plano.transport import HTTP1Transport, HTTPXSender, Transports
from plano.transport.choose import proxy_for
from tests.transport.wire import Peer, Server, always, ask, reply

NO_PROXY = "localhost, .internal,*.corp,10.0.0.0/8,[::1],example.com:8443, 192.168.1.1:80"


@pytest.mark.parametrize(
    ("url", "goes_direct"),
    [
        ("http://localhost:8000/v1", True),
        ("http://api.localhost/", True),
        ("https://internal/", True),
        ("https://a.b.internal/", True),
        ("https://A.Internal/", True),
        ("https://notinternal/", False),
        ("https://x.corp/", True),
        ("https://10.200.3.4/", True),
        ("https://11.0.0.1/", False),
        ("https://[::1]:8080/", True),
        ("https://[::2]/", False),
        ("https://example.com:8443/", True),
        ("https://example.com/", False),
        ("http://192.168.1.1/", True),
        ("https://192.168.1.1/", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_no_proxy_names_what_goes_direct(url: str, goes_direct: bool) -> None:
    environ = {"ALL_PROXY": "http://proxy:3128", "NO_PROXY": NO_PROXY}
    assert proxy_for(url, environ) == (None if goes_direct else "http://proxy:3128")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://upper:1"}, "http://upper:1"),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "http://lower:1"),
        ({"HTTPS_PROXY": "bare:1"}, "http://bare:1"),
        ({"HTTP_PROXY": "http://other:1"}, None),
        ({"all_proxy": "socks5://all:1"}, "socks5://all:1"),
        ({"HTTPS_PROXY": "http://upper:1", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": " "}, None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], expected: str | None) -> None:
    assert proxy_for("https://api.openai.com/v1", environ) == expected


async def test_the_same_way_is_the_same_sender() -> None:
    transports = Transports(environ={"HTTPS_PROXY": "http://proxy:3128"})
    direct = transports.sender("http://a/")
    assert isinstance(direct, HTTP1Transport)
    assert transports.sender("http://b/") is direct
    proxied = transports.sender("https://a/")
    assert isinstance(proxied, HTTPXSender)
    assert transports.sender("https://b/") is proxied
    assert transports.sender("http://a/", proxy="http://proxy:3128") is proxied
    assert transports.sender("http://a/", proxy="http://another:3128") is not proxied
    await transports.aclose()


@pytest.mark.parametrize("proxy", ["ftp://user:hunter2@proxy:1", "http://[::", "no url at all"])
def test_a_proxy_that_cannot_be_used_is_found_at_start_up_and_not_shown(proxy: str) -> None:
    with pytest.raises(ConfigError) as problem:
        Transports(environ={}).sender("http://a/", proxy=proxy)
    assert "hunter2" not in str(problem.value)


async def test_a_request_goes_through_the_proxy(server: Server) -> None:
    seen: list[bytes] = []

    async def proxy(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(reply(b"through the proxy"))

    server.plays(proxy)
    transports = Transports(environ={"HTTP_PROXY": server.url})
    server.url = "http://api.example.com"
    sender = transports.sender(server.url)
    assert await ask(sender, server) == (200, b"through the proxy")
    assert seen[0].startswith(b"POST http://api.example.com/v1 HTTP/1.1\r\n")
    await transports.aclose()


async def test_a_tunnel_that_the_proxy_refuses_is_unavailable(server: Server) -> None:
    async def proxy(peer: Peer) -> None:
        assert (await peer.head()).startswith(b"CONNECT api.example.com:443 HTTP/1.1\r\n")
        await peer.send(reply(b"", status=b"407 Proxy Authentication Required"))

    server.plays(proxy)
    transports = Transports(environ={})
    sender = transports.sender("https://api.example.com", proxy=server.url)
    server.url = "https://api.example.com"
    with pytest.raises(UpstreamUnavailable):
        await ask(sender, server)
    await transports.aclose()


async def test_closing_closes_every_way(server: Server) -> None:
    server.plays(always(reply()))
    transports = Transports(environ={})
    await ask(transports.sender(server.url), server)
    await ask(transports.sender(server.url, proxy=server.url), server)
    assert server.open == 2
    await transports.aclose()
    await server.all_gone()
