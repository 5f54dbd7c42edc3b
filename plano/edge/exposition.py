"""A registry as the text that Prometheus scrapes, and the endpoint that serves it.

Source: Prometheus, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.utils import floatToGoString

from plano.edge.answers import send_error
from plano.errors import ConfigError, MethodNotAllowed, NotFound, PlanoError
from plano.observability.instruments import Instruments
from plano.types import Headers, Receive, Scope, Send

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that tells prometheus-client to share counts among processes, and in which directory."""

Admit: TypeAlias = Callable[[Scope, Headers], Awaitable[object]]
"""Raises a PlanoError for a caller who may not see the metrics."""

_SLICE = 200
"""Lines that are written in one go. Requests have their turn between two slices."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def named_directory() -> str | None:
    """The directory that the environment names, or None.

    Raises:
        ConfigError: nothing can be written there.
    """
    directory = os.environ.get(DIRECTORY) or None
    if directory is not None and not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"{DIRECTORY}: the folder {directory} does not exist, or cannot be written")
    return directory


class Exposition:
    """`GET /metrics`, as an ASGI application.

    Args:
        instruments: the metrics of this process; None for a process that counts nothing itself.
        directory: the directory in which several processes count together, or None.
        admit: raises a PlanoError for a caller who may not see the metrics; None admits everybody.
        paths: the only paths that answer; None for every path.
    """

    def __init__(
        self,
        instruments: Instruments | None,
        *,
        admit: Admit | None = None,
        directory: str | None = None,
        paths: tuple[str, ...] | None = None,
    ) -> None:
        self._instruments = instruments
        self._admit = admit
        self._directory = directory
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope["headers"])
        try:
            self._check(scope)
            if self._admit is not None:
                await self._admit(scope, headers)
        except PlanoError as error:
            await send_error(scope, headers, error, send)
            return
        body = await self.text()
        head = [(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def text(self) -> bytes:
        """The whole text, for all workers."""
        if self._instruments is not None:
            self._instruments.refresh()
        if self._directory is not None:
            families: Iterable[Family] = await asyncio.to_thread(read_all, self._directory)
        else:
            assert self._instruments is not None, "without a directory, the metrics are those of this process"
            families = self._instruments.registry.collect()
        parts = []
        for part in lines(families):
            parts.append(part)
            await asyncio.sleep(0)
        return "".join(parts).encode()

    def _check(self, scope: Scope) -> None:
        if self._paths is not None and scope["path"] not in self._paths:
            raise NotFound("There is only /metrics here.")
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{scope['method'][:20]} is not possible here, only GET.", allow="GET, HEAD")


def lines(families: Iterable[Family]) -> Iterator[str]:
    """The text, a few lines at a time."""
    number: Callable[[float], str] = floatToGoString
    for family in families:
        if not family.samples:
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        written = [f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n"]
        for sample in family.samples:
            if sample.name.endswith(
                "_created"
            ):  # a sample of OpenMetrics; in this format it would be a gauge of its own
                continue
            labels = ",".join([f'{label}="{_escaped(value)}"' for label, value in sample.labels.items()])
            written.append(f"{sample.name}{{{labels}}} {number(sample.value)}\n")
            if len(written) >= _SLICE:
                yield "".join(written)
                written = []
        yield "".join(written)


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES) if '"' in value or "\\" in value or "\n" in value else value


def read_all(directory: str) -> list[Family]:
    """The metrics of all processes that share the directory; gauges only of those that are alive."""
    forget_the_dead(directory)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return list(registry.collect())


def forget_the_dead(directory: str) -> None:
    """Remove the gauges of processes that have ended."""
    for name in os.listdir(directory):
        pid = name.removesuffix(".db").rpartition("_")[2]
        if name.startswith("gauge_live") and pid.isdigit() and not _lives(int(pid)):
            mark_process_dead(int(pid), directory)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
