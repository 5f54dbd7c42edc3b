"""The socket under the fake provider."""

from __future__ import annotations

import socket

from plano.testing.server import listening_socket


def test_an_accepted_connection_sends_each_piece_at_once() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
