"""Measurements of whole servers under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import wire
from benchmarks.load import Load, Round, quantile
from benchmarks.report import Figure, Table
from benchmarks.servers import PAIRS, Fleet, Server, model_for


@dataclass(frozen=True)
class Effort:
    """The extent of a run.

    Attributes:
        repeats: how often each measurement is repeated. Servers take turns, so that a slow minute affects all of them.
        seconds: the length of each measurement.
        concurrencies: the numbers of connections.
        peers: Portkey and LiteLLM are measured if they are installed.
    """

    repeats: int = 3
    seconds: float = 2.0
    concurrencies: tuple[int, ...] = (1, 16, 64, 256)
    bodies: int = 1500
    streams: int = 2000
    requests: int = 200_000
    peers: bool = True


QUICK = Effort(seconds=0.5, concurrencies=(1, 32), bodies=200, streams=300, requests=20_000)


@dataclass(frozen=True)
class Case:
    """A server and the bytes of the request that is sent to it; `label` is its line in a table."""

    label: str
    server: Server
    request: bytes
    ends_with: bytes = b""


class Bench:
    """One run: its servers and its results.

    Attributes:
        found: figures by name, for the table of budgets.
    """

    def __init__(self, fleet: Fleet, effort: Effort, say: Callable[[str], None]) -> None:
        self.fleet = fleet
        self.effort = effort
        self.say = say
        self.found: dict[str, Figure] = {}
        self.absent: list[str] = []
        self._servers: dict[str, Server | None] = {}

    def server(self, name: str) -> Server | None:
        """The server of that name, started on first use; None if it is not installed or does not start."""
        if name not in self._servers:
            starts: dict[str, Callable[[], Server | None]] = {
                "direct": lambda: self.fleet.upstream,
                "plano": self.fleet.plano,
                "uvicorn": self.fleet.uvicorn,
                "nginx": self.fleet.nginx,
                "portkey": self.fleet.portkey,
                "litellm": self.fleet.litellm,
            }
            self.say(f"starting {name}")
            try:
                self._servers[name] = starts[name]()
            except RuntimeError as error:
                self.say(str(error))
                self._servers[name] = None
            if self._servers[name] is None:
                self.absent.append(name)
        return self._servers[name]

    def plano(self) -> Server:
        server = self.server("plano")
        assert server is not None, "plano itself did not start"
        return server

    def cases(self, names: Sequence[str], dialect: str, model: str, *, stream: bool = False) -> list[Case]:
        """The same request to each of these servers that is available."""
        if not self.effort.peers:
            names = [name for name in names if name not in ("portkey", "litellm")]
        servers = [server for name in names if (server := self.server(name)) is not None]
        ends_with = wire.LAST[dialect] if stream else b""
        return [Case(each.name, each, each.request(dialect, model, stream=stream), ends_with) for each in servers]

    def pairs(self, model: str, *, stream: bool) -> list[Case]:
        """Each client dialect with each upstream dialect, through plano."""
        plano = self.plano()
        return [
            Case(
                f"plano, {client}" if client == upstream else f"plano, {client} over {upstream}",
                plano,
                plano.request(client, model_for(client, upstream, model), stream=stream),
                wire.LAST[client] if stream else b"",
            )
            for client, upstream in PAIRS
        ]


@dataclass
class Outcome:
    """The rounds of one case, and the CPU seconds its server used in each."""

    rounds: list[Round]
    cpu: list[float]

    @property
    def failures(self) -> int:
        return sum(each.failures for each in self.rounds)

    def cpu_per(self, share: float = 1.0) -> Figure:
        """The CPU µs of each reply, or of a part of one."""
        return Figure(
            [cpu / each.done * 1e6 * share for cpu, each in zip(self.cpu, self.rounds, strict=True) if each.done]
        )

    def rate(self) -> Figure:
        return Figure([each.rate for each in self.rounds])

    def of(self, name: str, share: float) -> Figure:
        """A quantile, in µs, of the times in a Round's field `name`."""
        return Figure([quantile(getattr(each, name), share) * 1e6 for each in self.rounds])


async def measured(
    bench: Bench, case: Case, *, connections: int, spread: float = 0.0, stamps: bool = False, requests: int = 1 << 60
) -> tuple[Round, float]:
    """Makes one measurement on warm connections. Returns the round and the server's CPU seconds in it."""
    async with Load(
        case.server.port, case.request, connections=connections, ends_with=case.ends_with, stamps=stamps
    ) as load:
        await load.run(seconds=min(0.3, bench.effort.seconds / 4), requests=requests)
        before = case.server.cpu()
        found = await load.run(seconds=bench.effort.seconds, spread=spread, requests=requests)
        return found, case.server.cpu() - before


async def in_turns(bench: Bench, cases: Sequence[Case], **options: object) -> dict[str, Outcome]:
    """Measures every case as often as the effort says; the cases take turns."""
    outcomes = {case.label: Outcome([], []) for case in cases}
    told: set[str] = set()
    for _ in range(bench.effort.repeats):
        for case in cases:
            found, cpu = await measured(bench, case, **options)  # type: ignore[arg-type]
            outcomes[case.label].rounds.append(found)
            outcomes[case.label].cpu.append(cpu)
            if found.failures and case.label not in told:
                told.add(case.label)
                bench.say(f"{case.label}: {found.failures} failures, such as {found.failure[:300]!r}")
    return outcomes


ALL = ("direct", "uvicorn", "nginx", "plano", "portkey", "litellm")


def failed(outcome: Outcome) -> str:
    return f"{outcome.failures:,}" if outcome.failures else "0"


async def requests(bench: Bench) -> list[Table]:
    """Measures requests that are not streamed, at each concurrency."""
    tables = []
    for connections in bench.effort.concurrencies:
        table = Table(
            f"Requests of 0.3 KB, not streamed, {connections} at a time",
            ("", "CPU µs", "× uvicorn", "requests/s", "added p50 µs", "added p99 µs", "failures"),
        )
        cases = bench.cases(ALL, "chat", "plain")
        if connections == bench.effort.concurrencies[-1]:
            plano = bench.plano()
            cases.append(Case("plano, name replaced", plano, plano.request("chat", "only-chat/plain")))
            cases += bench.pairs("plain", stream=False)[1:]
        outcomes = await in_turns(bench, cases, connections=connections)
        direct = {share: outcomes["direct"].of("latencies", share).median for share in (0.5, 0.99)}
        alone = outcomes["uvicorn alone"].cpu_per().median
        for label, outcome in outcomes.items():
            added = [
                Figure([value - direct[share] for value in outcome.of("latencies", share).values])
                for share in (0.5, 0.99)
            ]
            cpu = outcome.cpu_per()
            table.add(label, cpu, cpu.median / alone, outcome.rate(), *added, failed(outcome))
            bench.found[f"{label} cpu {connections}"] = cpu
            for share, figure in zip((50, 99), added, strict=True):
                bench.found[f"{label} p{share} {connections}"] = figure
        tables.append(table)
    return tables


DELTAS = 100
_STREAMED = ("direct", "uvicorn", "nginx")


async def streams(bench: Bench) -> list[Table]:
    """Measures the cost of a chunk: at full speed, and at one every 5 ms, when each is a read of its own."""
    tables = []
    for model, connections, spread, title in (
        (f"s-{DELTAS}-0", 32, 0.0, "as fast as they come, 32 streams at a time"),
        (f"s-{DELTAS}-5", 64, 0.05, "one each 5 ms, 64 streams at a time"),
    ):
        table = Table(
            f"Streams of {DELTAS} deltas, {title}",
            ("", "CPU µs per delta", "× nginx", "of that per stream, µs", "failures"),
        )

        def cases(asked: str) -> list[Case]:
            return [
                *bench.cases(_STREAMED, "chat", asked, stream=True),
                *bench.pairs(asked, stream=True),
                *bench.cases(("portkey", "litellm"), "chat", asked, stream=True),
            ]

        long = await in_turns(bench, cases(model), connections=connections, spread=spread)
        short = await in_turns(bench, cases("s-1-0"), connections=connections)
        nginx = long["nginx"].cpu_per(1 / DELTAS).median if "nginx" in long else float("nan")
        for label, outcome in long.items():
            cpu = outcome.cpu_per(1 / DELTAS)
            table.add(label, cpu, cpu.median / nginx, short[label].cpu_per(), failed(outcome))
            bench.found[f"{label} {model}"] = cpu
        table.notes.append(
            "The CPU of a whole stream, divided by its deltas; the next column is a stream of one delta."
        )
        tables.append(table)
    return tables


async def delays(bench: Bench) -> list[Table]:
    """Measures how much later a frame reaches the client, and how much its rhythm suffers."""
    tables = []
    for connections in (1, 32):
        table = Table(
            f"Frames of streams with one each 5 ms, {connections} at a time: added to the direct path",
            ("", "delay p50 µs", "delay p99 µs", "gap p99 µs", "first token p50 µs", "first token p99 µs", "failures"),
        )
        cases = [
            *bench.cases(("direct", "nginx"), "chat", f"s-{DELTAS}-5", stream=True),
            *bench.pairs(f"s-{DELTAS}-5", stream=True)[:2],
            *bench.cases(("portkey", "litellm"), "chat", f"s-{DELTAS}-5", stream=True),
        ]
        outcomes = await in_turns(bench, cases, connections=connections, spread=0.02, stamps=True)
        columns = (("delays", 0.5), ("delays", 0.99), ("gaps", 0.99), ("firsts", 0.5), ("firsts", 0.99))
        direct = [outcomes["direct"].of(*column).median for column in columns]
        for label, outcome in outcomes.items():
            figures = [
                Figure([value - base for value in outcome.of(*column).values])
                for column, base in zip(columns, direct, strict=True)
            ]
            table.add(label, *(direct if label == "direct" else figures), failed(outcome))
        table.notes.append("The line `direct` has the times themselves, of which the others are what was added.")
        tables.append(table)
    return tables


async def prompts(bench: Bench) -> list[Table]:
    """Measures the cost as the prompt grows."""
    table = Table(
        "CPU µs per request as the prompt grows",
        ("", *(f"{size:,} bytes" for size in SIZES), "failures"),
    )
    plano = bench.plano()
    lines = [(name, server, "plain", "chat") for name in ("uvicorn", "nginx") if (server := bench.server(name))]
    lines += [
        ("plano, bytes untouched", plano, "plain", "chat"),
        ("plano, name replaced", plano, "only-chat/plain", "chat"),
        ("plano, chat over messages", plano, "only-messages/plain", "chat"),
        ("plano, responses over chat", plano, "only-chat/plain", "responses"),
    ]
    by_size = []
    for size in SIZES:
        cases = [
            Case(label, server, server.request(dialect, model, size=size)) for label, server, model, dialect in lines
        ]
        by_size.append(await in_turns(bench, cases, connections=4 if size > 200_000 else 16))
    for label, *_ in lines:
        outcomes = [found[label] for found in by_size]
        table.add(label, *(each.cpu_per() for each in outcomes), sum(each.failures for each in outcomes))
    return [table]


SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


async def filters(bench: Bench) -> list[Table]:
    """Measures the cost as filters are added that do nothing."""
    table = Table(
        "CPU µs as filters are added that do nothing", ("", "per request", f"per stream of {DELTAS} deltas", "failures")
    )
    servers = {
        "no keys, metrics, store": bench.fleet.plano(name="plano bare", bare=True),
        "the default pipeline": bench.plano(),
        "and 1 filter": bench.fleet.plano(name="plano 1", filters=1),
        "and 8 filters": bench.fleet.plano(name="plano 8", filters=8),
    }
    await asyncio.sleep(0)
    plain = [Case(label, each, each.request("chat", "plain")) for label, each in servers.items()]
    model = f"s-{DELTAS}-0"
    streamed = [
        Case(label, each, each.request("chat", model, stream=True), wire.LAST["chat"])
        for label, each in servers.items()
    ]
    short = await in_turns(bench, plain, connections=32)
    long = await in_turns(bench, streamed, connections=32)
    for label in servers:
        table.add(label, short[label].cpu_per(), long[label].cpu_per(), short[label].failures + long[label].failures)
    for label, each in servers.items():
        if label != "the default pipeline":
            bench.fleet.end(each)
    return [table]


async def workers(bench: Bench) -> list[Table]:
    """Compares one worker with two, without a store, because processes cannot share the memory store."""
    table = Table("Workers, 64 requests at a time", ("", "CPU µs", "requests/s", "failures"))
    cores = bench.fleet.pinning.all
    servers = [bench.fleet.plano(name=f"plano x{count}", workers=count, store="none", cores=cores) for count in (1, 2)]
    await asyncio.sleep(1.0)
    cases = [
        Case(f"{count} worker{'s' * (count > 1)}", each, each.request("chat", "plain"))
        for count, each in enumerate(servers, 1)
    ]
    for label, outcome in (await in_turns(bench, cases, connections=64)).items():
        table.add(label, outcome.cpu_per(), outcome.rate(), failed(outcome))
    for each in servers:
        bench.fleet.end(each)
    if len(cores) < 4:
        table.notes.append(
            f"On {len(cores)} cores two workers share them with upstream and load, so requests/s cannot double."
        )
    return [table]
