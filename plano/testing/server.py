"""The fake provider on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn


@contextmanager
def serve(app: Any, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run a `FakeProvider`, or any ASGI application, on a loopback port of its own, in a thread.

    Yields the base URL without a path (`http://127.0.0.1:49152`). Leaving stops the server at once, even in the middle
    of an answer. The application runs on the thread's event loop, so objects that it shares with the test must be safe
    to use from two threads; a `FakeProvider` is.
    """
    import uvicorn  # here, so that tests without a socket do not load it

    listening = listening_socket(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, access_log=False, server_header=False, date_header=False
    )
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_run(app, uvicorn.Server(config), listening, started)),
        name="plano-testing",
        daemon=True,
    )
    thread.start()
    stop = started.result()
    try:
        yield address
    finally:
        stop()
        thread.join()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. What it accepts sends each piece at once.

    asyncio asks for that only where it made the socket itself. Without it, the end of a reply in two pieces waits for
    the client's delayed acknowledgement of the first one, 40 ms on Linux (RFC 9293, section 3.7.4; RFC 1122, 4.2.3.2).
    """
    made = socket.create_server((host, port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def _run(
    app: Any, server: uvicorn.Server, listening: socket.socket, started: Future[Callable[[], object]]
) -> None:
    """Serve until the result of `started` is called. uvicorn's own shutdown would wait for clients."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started:
        if serving.done():
            listening.close()
            started.set_exception(serving.exception() or RuntimeError("the server ended before it began"))
            return
        await asyncio.sleep(0.001)
    started.set_result(lambda: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    serving.cancel()
    for accepting in server.servers:
        accepting.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    if hasattr(app, "aclose"):
        await app.aclose()
    if server.server_state.tasks:  # these tasks are told that the client left
        await asyncio.wait(list(server.server_state.tasks), timeout=1)
    await asyncio.sleep(0)
