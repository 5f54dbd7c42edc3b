"""Addresses to listen on: every address of a name, IPv6 and IPv4 for `::`, and one line if it is impossible."""

from __future__ import annotations

import errno
import socket
import urllib.request
from pathlib import Path

import pytest

from plano.errors import ConfigError
from plano.process.sockets import bound, refused, url_of
from tests.process.gateway import NUMBERS, plano_fails, plano_up

DEMO = "model_providers: [{model: demo/echo, default: true}]\nstate_storage: {type: none}\n"


@NUMBERS
@pytest.mark.parametrize(
    ("host", "prints", "reached"),
    [
        ("::", "127.0.0.1", ["127.0.0.1", "[::1]"]),
        ("[::]", "127.0.0.1", ["127.0.0.1", "[::1]"]),
        ("::1", "[::1]", ["[::1]"]),
        ("[::1]", "[::1]", ["[::1]"]),
        ("0.0.0.0", "127.0.0.1", ["127.0.0.1"]),
        ("localhost", "localhost", ["127.0.0.1"]),
    ],
)
def test_what_it_prints_can_be_reached(
    host: str, prints: str, reached: list[str], workers: str, tmp_path: Path
) -> None:
    if workers == "2" and host not in ("::", "[::1]"):
        return  # the sockets are the same ones
    with plano_up(tmp_path, DEMO, "--host", host, "--workers", workers) as gateway:
        assert gateway.url == f"http://{prints}:{gateway.port}"
        for at in reached:
            with urllib.request.urlopen(f"http://{at}:{gateway.port}/healthz", timeout=20) as answer:
                assert answer.status == 200


def test_pieces_of_a_stream_are_sent_at_once_on_every_event_loop() -> None:
    (listening,) = bound("127.0.0.1", 0)
    with listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_every_address_of_a_name_is_bound_at_one_port() -> None:
    sockets = bound("localhost", 0)
    try:
        assert len({each.getsockname()[1] for each in sockets}) == 1
        assert {each.getsockname()[0] for each in sockets} >= {"127.0.0.1"}
        with pytest.raises(ConnectionRefusedError):  # nobody listens yet
            socket.create_connection(sockets[0].getsockname()[:2], timeout=5)
    finally:
        for each in sockets:
            each.close()


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("192.0.2.1", 0, "nothing can listen on 192.0.2.1 port 0: cannot assign requested address. `--host` must be"),
        ("no-such-name.invalid", 0, "nothing can listen on no-such-name.invalid: it is no address, and no name of"),
        ("a" * 300, 0, "it is no address, and no name of this machine"),
    ],
)
def test_an_address_that_is_not_here_is_one_line(host: str, port: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bound(host, port)
    assert says in str(caught.value)
    said = plano_fails(tmp_path, DEMO, "--host", host, "--port", str(port))
    assert said == f"error: {caught.value}\n"


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EADDRINUSE, "--port 81"), (errno.EACCES, "--port 12000"), (errno.EAFNOSUPPORT, "0.0.0.0")],
)
def test_each_failure_to_listen_says_what_helps(number: int, says: str) -> None:
    message = str(refused("127.0.0.1", 80, OSError(number, "Because")))
    assert says in message
    assert "127.0.0.1 port 80" in message
    assert "\n" not in message


def test_a_port_that_is_taken_for_one_address_of_a_name_is_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="another program listens on localhost port"),
    ):
        bound("localhost", taken.getsockname()[1])


def test_urls_are_such_that_this_machine_reaches_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert url_of("0.0.0.0", [listening]) == url_of("::", [listening]) == f"http://127.0.0.1:{port}"
        assert url_of("fd00::2", [listening]) == f"http://[fd00::2]:{port}"
        assert url_of("gateway.internal", [listening]) == f"http://gateway.internal:{port}"
