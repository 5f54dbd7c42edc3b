"""Measures the transport by itself: the CPU time of this process per request and per chunk, for each way to send.

    python -m benchmarks.micro_transport [--requests 20000] [--connections 32] [--rounds 3]

The upstream is `benchmarks.fake` in a process of its own. Every figure is the median of the rounds, user and system
time together, so what the kernel does for a send and a receive is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median
from time import process_time, sleep

import uvloop

from benchmarks.wire import PATHS, request
from plano.transport import AsyncHTTPTransport, HTTP1Transport, HTTPXSender, Outgoing, Sender

WAYS: dict[str, tuple[Callable[[], Sender], float]] = {
    "plano": (HTTP1Transport, 1.0),
    "plano, through httpx's interface": (lambda: HTTPXSender(HTTP1Transport()), 0.3),
    "httpx": (lambda: HTTPXSender(AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))), 0.05),
}
"""Each way to send, and the share of the requests that it gets: the slow ones would take minutes."""

HEADERS = [
    (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"plano"),
]


async def measure(sender: Sender, outgoing: Outgoing, count: int, connections: int) -> tuple[float, int]:
    """The CPU seconds for `count` exchanges over a number of connections, and how many pieces their bodies had."""
    left, pieces = count, 0

    async def one_after_another() -> None:
        nonlocal left, pieces
        while left > 0:
            left -= 1
            exchange = await sender.send(outgoing)
            async for _ in exchange:
                pieces += 1

    before = process_time()
    await asyncio.gather(*(one_after_another() for _ in range(connections)))
    return process_time() - before, pieces


async def compare(url: str, requests: int, connections: int, rounds: int) -> None:
    path = url + PATHS["chat"]
    plain = Outgoing(url=path, headers=HEADERS, body=request("chat", "plain"))
    stream = Outgoing(url=path, headers=HEADERS, body=request("chat", "s-100-5", stream=True))
    print(f"{'':34} {'µs per request':>15} {'µs per stream':>15} {'µs per piece':>15}")
    for name, (make, share) in WAYS.items():
        sender = make()
        count, streams = max(connections, int(requests * share)), max(connections, int(requests * share) // 50)
        await measure(sender, plain, count // 10, connections)
        whole = [await measure(sender, plain, count, connections) for _ in range(rounds)]
        pieced = [await measure(sender, stream, streams, connections) for _ in range(rounds)]
        per_request = median(cpu for cpu, _ in whole) / count * 1e6
        per_stream = median(cpu for cpu, _ in pieced) / streams * 1e6
        per_piece = median(cpu / pieces for cpu, pieces in pieced) * 1e6
        print(f"{name:34} {per_request:15.1f} {per_stream:15.1f} {per_piece:15.2f}")
        await sender.aclose()


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.fake", "--port", str(port)])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with upstream() as url:
        uvloop.run(compare(url, options.requests, options.connections, options.rounds))


if __name__ == "__main__":
    main()
