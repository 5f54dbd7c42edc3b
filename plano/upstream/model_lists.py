"""Asks providers for the lists of their models, so that models under a wildcard are found by their bare names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from plano.dialects.reading import UNREADABLE
from plano.errors import PlanoError, UpstreamProtocolError
from plano.provider import Target, list_url
from plano.routing.models import Entry, ModelIndex
from plano.transport import Outgoing, Sender, Timeouts
from plano.upstream.headers import own_headers

logger = logging.getLogger("plano")

PATIENCE = 1.0
"""The most seconds that a request waits for lists. They still arrive after that, for the requests that follow."""

KEPT = 3600.0
"""The seconds that a list counts as fresh."""

KEPT_FAILURE = 60.0
"""The seconds after a failure in which a provider is not asked again."""

MOST_MODELS = 5000
"""The most models that are taken from one list."""

_MAX_PAGE = 8 * 1024 * 1024
_MAX_PAGES = 10
_TIMEOUTS = Timeouts(connect=5.0, write=5.0, first_byte=10.0, idle=10.0)


class _Model(Struct, frozen=True):
    id: str


class _Page(Struct, frozen=True):
    """A page of a list, in OpenAI's form or in Anthropic's ("List Models"); the latter has the last three fields."""

    data: list[_Model]
    has_more: bool | None = None
    last_id: str | None = None


_page = msgspec.json.Decoder(_Page | list[_Model])


class ModelLists:
    """The lists of the providers that have wildcard entries. Each is asked for when it is first needed.

    A list is kept for an hour, and everybody who waits for it shares one request. The keys of a pool are tried in turn
    until one gets the list. Entries with `passthrough_auth` and without a key have nothing to ask with, so they are
    left out.

    Args:
        index: takes in the lists.
        sender_for: gives the transport of a target.
        clock: gives seconds that only grow.
    """

    def __init__(
        self, index: ModelIndex, sender_for: Callable[[Target], Sender], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._sender_for = sender_for
        self._clock = clock
        self._listed = [
            (entry.name, _asking(target), url)
            for entry, target in index.wildcards()
            if (url := _list_of(entry, target)) is not None
        ]
        self._fresh_until: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def refresh(self, *, patience: float = PATIENCE) -> None:
        """Brings the index up to date, as far as that takes no more than `patience` seconds."""
        running = [task for each in self._listed if (task := self._task(*each)) is not None]
        if running:
            await asyncio.wait(running, timeout=patience)

    def _task(self, entry: str, targets: Sequence[Target], url: str) -> asyncio.Task[None] | None:
        """The task that asks for an entry's list; None if the list is fresh."""
        task = self._running.get(entry)
        loop = asyncio.get_running_loop()
        if task is not None and not task.done() and task.get_loop() is loop:
            return task
        if self._clock() < self._fresh_until.get(entry, 0.0):
            return None
        task = self._running[entry] = loop.create_task(self._learn(entry, targets, url))
        return task

    async def _learn(self, entry: str, targets: Sequence[Target], url: str) -> None:
        try:
            models = await self._ask_any(targets, url)
        except Exception as error:
            self._fresh_until[entry] = self._clock() + KEPT_FAILURE  # else each made-up name would ask again
            if not isinstance(error, PlanoError):
                raise
            logger.info("%s: its list of models cannot be read: %s", entry, error.message)
            return
        self._fresh_until[entry] = self._clock() + KEPT
        self._index.learn(entry, models[:MOST_MODELS])

    async def _ask_any(self, targets: Sequence[Target], url: str) -> list[str]:
        """The ids that the first key to be answered gets. Raises as `_ask` if none is."""
        for target in targets[:-1]:
            with suppress(PlanoError):
                return await self._ask(target, url)
        return await self._ask(targets[-1], url)

    async def _ask(self, target: Target, url: str) -> list[str]:
        """The ids of all pages.

        Raises:
            PlanoError: there was no answer, or none that can be read.
        """
        lists = target.provider.lists
        assert lists is not None, "only providers with a list are asked"
        found: list[str] = []
        page = await self._page(target, url)
        for _ in range(_MAX_PAGES):
            if isinstance(page, list):  # Together AI answers with the bare list
                return found + _ids(page, lists.strip)
            found += _ids(page.data, lists.strip)
            if not page.has_more or not page.last_id:
                break
            page = await self._page(target, f"{url}{'&' if '?' in url else '?'}after_id={quote(page.last_id, safe='')}")
        return found

    async def _page(self, target: Target, url: str) -> _Page | list[_Model]:
        headers = [header for header in own_headers(target, target.dialects[0]) if header[0] != b"content-type"]
        exchange = await self._sender_for(target).send(
            Outgoing(method=b"GET", url=url, headers=headers, timeouts=_TIMEOUTS)
        )
        try:
            body = await exchange.read(_MAX_PAGE)
        finally:
            await exchange.aclose()
        if exchange.status != 200:
            raise UpstreamProtocolError(f"The upstream answered with status {exchange.status}.")
        try:
            return _page.decode(body)
        except UNREADABLE as error:
            raise UpstreamProtocolError("The upstream's answer is not a list of models.") from error


def _asking(target: Target) -> list[Target]:
    """The target, once with each of its keys; the caller's own is not among them."""
    target = replace(target, passthrough_auth=False)
    return [replace(target, key=key, key_no=number) for number, key in enumerate(target.pool)] or [target]


def _list_of(entry: Entry, target: Target) -> str | None:
    """The URL of an entry's list; None if it has none, or nothing to ask with."""
    if target.provider.signer is not None or (entry.passthrough_auth and target.key is None):
        return None
    if target.key is None and entry.base_url is None and target.provider.key_variables:
        return None  # the provider would refuse it
    return list_url(target.provider, target.dialects[0], entry.base_url)


def _ids(models: list[_Model], strip: str) -> list[str]:
    return [model.id.removeprefix(strip) for model in models]
