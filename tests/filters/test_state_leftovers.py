"""What is stored leaves nothing to the cycle collector either, in any store, whether it could be stored or not."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from plano import Plano
from plano.testing import serve
from plano.types import Dialect
from tests.filters.conftest import Storage
from tests.test_leftovers import (
    ENDINGS,
    METRICS,
    STREAM,
    Does,
    Ending,
    Provider,
    collector_off,
    config,
    left_by,
    leftovers,
    running,
    through,
)

__all__ = ["collector_off"]

STORED = [
    "whole",
    "stream",
    "cut",
    "500",
    "stream cut",
    "stream with an error",
    "left before the reply",
    "left in the stream",
    "filter asks twice for a stream",
    "filter reads a stream",
]


def continued(client: Dialect, said: bytes, **more: Any) -> Ending:
    """A request that goes on from a reply."""
    id_ = re.search(rb'"id": ?"((?:chatcmpl|resp)[^"]*)"', said)
    assert id_ is not None, said
    past = (
        {"metadata": {"response_id": id_[1].decode()}}
        if client == "chat"
        else {"previous_response_id": id_[1].decode()}
    )
    return Ending(fields=past | more)


@pytest.mark.parametrize(
    ("client", "upstream"), [("chat", "chat"), ("chat", "messages"), ("responses", "responses"), ("responses", "chat")]
)
async def test_no_turn_leaves_anything_behind(client: Dialect, upstream: Dialect, storage: Storage) -> None:
    provider, found = Provider(), dict[str, Counter[str]]()
    before = leftovers()  # of other tests in this process
    with serve(provider) as url:
        gateway = Plano(config(url, upstream, state_storage=storage), filters=[Does()])
        async with running(gateway) as server:
            said = await through(server, provider, ENDINGS["whole"], client)
            turns = {name: ENDINGS[name] for name in STORED}
            turns |= {"continued": continued(client, said), "continued stream": continued(client, said, stream=True)}
            for measured in (False, True):  # a store's client leaves something with each connection that it opens
                for name, ending in turns.items():
                    await through(server, provider, ending, client)
                    await through(server, provider, METRICS, client)
                    if (what := leftovers() - before) and measured:
                        found[name] = what
    assert found == {}


@pytest.mark.parametrize("client", ["chat", "responses"])
async def test_nor_does_one_that_a_store_which_is_gone_could_not_take(client: Dialect) -> None:
    provider = Provider()
    storage = {"type": "redis", "url": "redis://127.0.0.1:1/0", "deadline_seconds": 10.0}
    past = {"metadata": {"response_id": "chatcmpl-1"}} if client == "chat" else {"previous_response_id": "resp_1"}
    endings = {name: ENDINGS[name] for name in STORED}
    endings["needed"] = Ending(fields=past, status=503)
    endings["needed for a stream"] = Ending(fields=STREAM | past, status=503)
    with serve(provider) as url:
        gateway = Plano(config(url, "chat", state_storage=storage), filters=[Does()])
        assert await left_by(gateway, provider, client, endings) == {}
