"""Measures what failover, limits and admission add to a request, and to a piece of a stream.

    python -m benchmarks.resilience [--requests 200] [--rounds 60]

It runs in one process, without sockets but that to Redis: an upstream that answers at once replaces the network. Every
round runs each configuration once, and the result is the best of many short rounds, because other work on the machine
can only add time. Nothing fails and nothing is refused: this is the price of a day on which all is well.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import uvloop

from benchmarks.observing import Bench, stream_of
from benchmarks.report import Table
from plano import Plano
from plano.generation import Generation
from plano.pipeline import Link
from tests.servers import Proxy, Redis

SHORT, LONG = 20, 220
"""The words of two streams, whose difference is the cost of a piece."""

LINKS = frozenset({"admission", "limits", "attempts"})

ALIAS: Mapping[str, Any] = {"target": "openai/m"}
ENTRIES = [{"model": f"openai/{name}", "access_key": "k" * 20} for name in ("m", "other")]

MUCH = 1_000_000_000
FALLBACK = {**ALIAS, "fallbacks": [{"target": "openai/other"}]}

FAILOVER = {"model_aliases": {"smart": FALLBACK}}


def limit_of(*kinds: str) -> dict[str, Any]:
    return {"ratelimits": [{"selector": {"by": "caller"}, "limit": dict.fromkeys(kinds, MUCH) | {"unit": "minute"}}]}


LIMIT = limit_of("requests")

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "without the links": {},
    "nothing configured": {},
    "a limit of requests": LIMIT,
    "a limit of requests and tokens": limit_of("requests", "tokens"),
    "a fallback": FAILOVER,
    "a limit and a fallback": LIMIT | FAILOVER,
    "the same and admission": LIMIT | FAILOVER | {"admission": {"max_in_flight": 500, "queue": 200}},
}
BUDGET = {"nothing configured": 0.0, "a limit and a fallback": 15.0}
"""The microseconds that a request may cost more."""

_SHARED = "a limit and a fallback, with Redis"


class _Without(Generation):
    """A generation without the links that this measures."""

    def _links(self) -> list[Link]:
        return [link for link in super()._links() if link.name not in LINKS]


def without_links(app: Plano) -> None:
    app._assemble = partial(_Without, **app._assemble.keywords)  # type: ignore[arg-type]
    app.reload(app.config)


def bench_of(config: Mapping[str, Any], stream: Sequence[bytes], *, bare: bool) -> Bench:
    """A bench of a configuration; `bare` takes the links away that would pass everything on."""
    bench = Bench(
        {"model_providers": ENTRIES, "model_aliases": {"smart": ALIAS}, **config}, stream=stream, model="smart"
    )
    if bare:
        without_links(bench.gateway)
    return bench


async def compare(
    configs: Mapping[str, Mapping[str, Any]], stream: Sequence[bytes], requests: int, rounds: int
) -> dict[str, float]:
    """The CPU microseconds of a request in each configuration. The first goes without the links."""
    first = next(iter(configs))
    benches = {name: bench_of(config, stream, bare=name == first) for name, config in configs.items()}
    spent: dict[str, list[float]] = {name: [] for name in benches}
    for bench in benches.values():
        await bench.run(200)
    for _ in range(rounds):
        for name, bench in benches.items():
            spent[name].append(await bench.run(requests))
    for bench in benches.values():
        await bench.gateway.aclose()
    return {name: min(found) for name, found in spent.items()}


async def round_trips(redis: Redis, requests: int) -> float:
    """The round trips to Redis of a request with one limit and one fallback."""
    async with Proxy(redis.port) as proxy:
        shared = {"shared_state": {"type": "redis", "url": f"redis://127.0.0.1:{proxy.port}/0"}}
        bench = bench_of(CONFIGS["a limit and a fallback"] | shared, (), bare=False)
        await bench.run(10)  # it connects, and loads its scripts
        before = proxy.trips
        await bench.run(requests)
        found = (proxy.trips - before) / requests
        await bench.gateway.aclose()
    return found


async def tables(requests: int, rounds: int, redis: Redis) -> list[Table]:
    shared = {"shared_state": {"type": "redis", "url": redis.url}}
    configs = {**CONFIGS, _SHARED: CONFIGS["a limit and a fallback"] | shared}
    whole = await compare(configs, (), requests, rounds)
    short = await compare(CONFIGS, stream_of(SHORT), max(1, requests // 4), rounds)
    long = await compare(CONFIGS, stream_of(LONG), max(1, requests // 16), rounds)
    found = Table(
        "Failover, limits and admission", ("", "µs a request", "more", "budget", "µs a piece", "more", "round trips")
    )
    pieces = {name: (long[name] - short[name]) / (LONG - SHORT) for name in CONFIGS}
    base = pieces["without the links"]
    for name, cost in whole.items():
        more = cost - whole["without the links"]
        budget = f"{BUDGET[name]:.0f}" if name in BUDGET else "–"
        piece = (f"{pieces[name]:.2f}", f"{pieces[name] - base:+.2f}") if name in pieces else ("–", "–")
        trips = f"{await round_trips(redis, 200):.2f}" if name == _SHARED else "0"
        found.add(name, f"{cost:.1f}", f"{more:+.1f}", budget, *piece, trips)
    return [found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    logging.getLogger("plano").setLevel(logging.ERROR)
    with ExitStack() as stack:
        redis = Redis()
        stack.callback(redis.stop)
        for table in uvloop.run(tables(given.requests, given.rounds, redis)):
            print(table)


if __name__ == "__main__":
    main()
