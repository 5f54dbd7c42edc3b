"""TLS: who is trusted, what is shown, and that everything else works over it as it does without."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from plano.errors import ConfigError, UpstreamTimeout, UpstreamUnavailable
from plano.transport import AsyncHTTPTransport, HTTP1Transport, HTTPXSender, Sender, Timeouts, tls_context
from tests.transport.wire import Peer, Server, always, answering, ask, chunked, reply, start


class Authority:
    """A certificate authority made on the fly, with its files where they are needed."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.ca_path = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_path)

    def server(self, *names: str, client_ca: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def client_files(self) -> tuple[str, str]:
        certificate = self._ca.issue_cert("gateway.example.com")
        chain, key = self._folder / "client.pem", self._folder / "client.key"
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(chain, append=True)
        certificate.private_key_pem.write_to_path(key)
        return str(chain), str(key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def senders(context: ssl.SSLContext) -> list[Sender]:
    return [HTTP1Transport(tls=context), HTTPXSender(AsyncHTTPTransport(verify=context))]


async def test_a_server_of_a_trusted_authority_is_used(server: Server, authority: Authority) -> None:
    server.plays(always(reply()))
    await server.listen(tls=authority.server("localhost"))
    for sender in senders(tls_context(ca_path=authority.ca_path)):
        for _ in range(3):
            assert await ask(sender, server) == (200, b"hello")
        await sender.aclose()
    assert server.opened == 2
    await server.all_gone()


async def test_a_directory_of_authorities_will_do(server: Server, authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    # OpenSSL looks them up by a hash of the name, which Python does not tell; so this only shows that it is read.
    context = tls_context(ca_path=str(folder))
    await server.listen(tls=authority.server("localhost"))
    transport = HTTP1Transport(tls=context)
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    await transport.aclose()


async def test_a_server_of_an_unknown_authority_is_refused(server: Server, authority: Authority) -> None:
    await server.listen(tls=authority.server("localhost"))
    for sender in (HTTP1Transport(), HTTPXSender(AsyncHTTPTransport())):
        with pytest.raises(UpstreamUnavailable) as refusal:
            await ask(sender, server)
        assert "certificate verify failed" in str(refusal.value.__cause__)
        await sender.aclose()


async def test_a_server_with_another_name_is_refused(server: Server, authority: Authority) -> None:
    await server.listen(tls=authority.server("example.com"))
    for sender in senders(tls_context(ca_path=authority.ca_path)):
        with pytest.raises(UpstreamUnavailable) as refusal:
            await ask(sender, server)
        assert "localhost" in str(refusal.value.__cause__)
        await sender.aclose()


async def test_an_address_is_verified_like_a_name(server: Server, authority: Authority) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    await server.listen(tls=authority.server("127.0.0.1"))
    server.url = f"https://127.0.0.1:{server.port}"
    assert await ask(transport, server) == (200, b"hello")
    await server.listen(tls=authority.server("127.0.0.2"))
    server.url = f"https://127.0.0.1:{server.port}"
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    await transport.aclose()


async def test_the_name_and_the_protocol_are_told_in_the_handshake(server: Server, authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server("localhost")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    protocols: list[str | None] = []

    async def script(peer: Peer) -> None:
        protocols.append(peer.tls().selected_alpn_protocol())
        await peer.request()
        await peer.send(reply())

    server.plays(script)
    await server.listen(tls=context)
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    assert await ask(transport, server) == (200, b"hello")
    assert names == ["localhost"]
    assert protocols == ["http/1.1"]
    await transport.aclose()


async def test_a_client_certificate_is_shown_to_who_asks(server: Server, authority: Authority) -> None:
    certificate, key = authority.client_files()
    shown: list[object] = []

    async def script(peer: Peer) -> None:
        shown.append(peer.certificate())
        await peer.request()
        await peer.send(reply())

    server.plays(script)
    await server.listen(tls=authority.server("localhost", client_ca=True))
    context = tls_context(ca_path=authority.ca_path, certificate=certificate, key=key)
    transport = HTTP1Transport(tls=context)
    assert await ask(transport, server) == (200, b"hello")
    assert shown
    assert "gateway.example.com" in str(shown[0])
    await transport.aclose()


async def test_without_the_certificate_that_is_asked_for_there_is_no_reply(
    server: Server, authority: Authority
) -> None:
    server.plays(always(reply()))
    await server.listen(tls=authority.server("localhost", client_ca=True))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    await transport.aclose()


async def test_verification_can_be_turned_off(server: Server, authority: Authority) -> None:
    server.plays(always(reply()))
    await server.listen(tls=authority.server("example.com"))
    transport = HTTP1Transport(tls=tls_context(verify=False))
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()


def test_old_versions_of_tls_are_not_spoken() -> None:
    assert tls_context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("which", ["ca_path", "certificate"])
@pytest.mark.parametrize("content", [None, "nonsense"])
def test_files_that_cannot_be_used_are_found_at_start_up(tmp_path: Path, which: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    arguments = {which: str(path)}
    with pytest.raises(ConfigError, match=r"file\.pem"):
        tls_context(**arguments)  # type: ignore[arg-type]


async def test_a_server_that_does_not_speak_tls_is_unavailable(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\nspeak plainly")
        peer.close()

    server.plays(script)
    server.url = server.url.replace("http://", "https://")
    transport = HTTP1Transport()
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    await transport.aclose()


async def test_a_handshake_that_stalls_runs_into_the_connect_deadline(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.some()
        await peer.gone()

    server.plays(script)
    server.url = server.url.replace("http://", "https://")
    transport = HTTP1Transport(tls=tls_context(verify=False))
    with pytest.raises(UpstreamTimeout):
        await ask(transport, server, timeouts=Timeouts(connect=0.1))
    await server.all_gone()
    await transport.aclose()


async def test_a_handshake_may_be_cancelled_at_any_step(server: Server, authority: Authority) -> None:
    server.plays(always(reply()))
    await server.listen(tls=authority.server("localhost"))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path), drain=0.2)
    steps = 0
    finished = False
    while not finished:
        waiting = asyncio.ensure_future(ask(transport, server, timeouts=Timeouts(connect=1.0)))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = waiting.done() and server.opened > 0
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        steps += 1 + steps // 10
    await transport.aclose()
    await server.all_gone()


async def test_replies_of_every_size_come_through(server: Server, authority: Authority) -> None:
    bodies = [b"", b"x", b"y" * 16384, b"z" * 1_000_000]

    async def script(peer: Peer) -> None:
        while True:
            for body in bodies:
                await peer.request()
                await peer.send(reply(body))
                await peer.request()
                await peer.send(chunked(body[:10], body[10:]) if len(body) > 10 else reply(body))

    server.plays(script)
    await server.listen(tls=authority.server("localhost"))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    for body in bodies:
        assert await ask(transport, server, body=b"q" * 600_000) == (200, body)
        assert await ask(transport, server) == (200, body)
    assert server.opened == 1
    await transport.aclose()


async def test_a_reply_cut_short_is_not_complete(server: Server, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        peer.close()

    server.plays(script)
    await server.listen(tls=authority.server("localhost"))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    exchange = await start(transport, server)
    with pytest.raises(UpstreamUnavailable):
        await exchange.read(100)
    await transport.aclose()


async def test_a_closed_connection_at_rest_is_not_used(server: Server, authority: Authority) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply())
        peer.close()

    server.plays(once, once, answering(reply(b"last")))
    await server.listen(tls=authority.server("localhost"))
    transport = HTTP1Transport(tls=tls_context(ca_path=authority.ca_path))
    for _ in range(2):
        assert await ask(transport, server) == (200, b"hello")
        await server.all_gone()
        await asyncio.sleep(0.02)
    assert await ask(transport, server) == (200, b"last")
    await transport.aclose()
