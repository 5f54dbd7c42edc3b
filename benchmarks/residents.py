"""Measures what a server costs besides its work: its memory, and the time that it takes to start."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks import wire
from benchmarks.load import Load
from benchmarks.machine import PYTHON, environment, forget_peak, memory
from benchmarks.report import Figure, Table
from benchmarks.scenarios import ALL, Bench, Effort
from benchmarks.servers import PEERS, ROOT, Server

BODY = 150_000


async def footprint(bench: Bench) -> list[Table]:
    """Measures memory at rest, with many bodies and many streams at once, and afterwards."""
    bodies, streams = bench.effort.bodies, bench.effort.streams
    table = Table(
        "Memory, MB",
        (
            "",
            "idle rss",
            "idle pss",
            f"peak, {bodies:,} bodies of 150 KB",
            "after, above idle",
            f"{streams:,} idle streams",
            "KB per stream",
            "failures",
        ),
    )
    for name in ("nginx", "plano", "portkey", "litellm"):
        server = _fresh(bench, name)
        if server is None:
            continue
        await asyncio.sleep(1.0)
        idle = memory(server.pid)
        peak, after, failures = await _bodies(server, bodies)
        bench.fleet.end(server)
        server = _fresh(bench, name)
        assert server is not None, "it has just run"
        held, more = await _idle_streams(server, streams)
        share = (held - idle["rss"]) * 1000 / streams
        table.add(
            server.name,
            idle["rss"],
            idle["pss"],
            peak,
            after - idle["rss"],
            "–" if more else held,
            "–" if more else share,
            failures + more,
        )
        bench.found[f"{name} idle"] = Figure([idle["rss"]])
        if bodies >= Effort.bodies:  # fewer prove nothing about the budget
            bench.found |= {f"{name} peak": Figure([peak]), f"{name} after": Figure([after - idle["rss"]])}
        bench.fleet.end(server)
    table.notes.append(
        "All bodies are with the upstream at once, which answers after two seconds; `after` is 5 s later. An idle "
        "stream, of a server that was started for it, has had its first delta and waits for the next one; it holds "
        "two sockets in the gateway."
    )
    return [table]


def _fresh(bench: Bench, name: str) -> Server | None:
    """Starts a new server, so that earlier measurements have no influence."""
    if name in ("portkey", "litellm") and not bench.effort.peers:
        return None
    fleet = bench.fleet
    starts = {"nginx": fleet.nginx, "plano": fleet.plano, "portkey": fleet.portkey, "litellm": fleet.litellm}
    try:
        return starts[name]()
    except RuntimeError as error:
        bench.say(str(error))
        return None


async def _bodies(server: Server, amount: int) -> tuple[float, float, int]:
    """Sends `amount` bodies at once. Returns the peak MB, the MB some seconds later, and how many failed."""
    request, few = server.request("chat", "w-2000", size=BODY, store=False), min(50, amount)
    async with Load(server.port, request, connections=few) as warm:
        await warm.run(requests=few)
    forget_peak(server.pid)
    async with Load(server.port, request, connections=amount) as load:
        found = await load.run(requests=amount, patience=240)
    peak = memory(server.pid)["peak"]
    await asyncio.sleep(5.0)
    return peak, memory(server.pid)["rss"], found.failures


async def _idle_streams(server: Server, amount: int) -> tuple[float, int]:
    """The MB with that many streams that wait for their next delta, and how many streams were refused."""
    request = server.request("chat", "s-1-600000", stream=True)
    async with Load(server.port, request, connections=amount, ends_with=wire.LAST["chat"], stamps=True) as load:
        running = asyncio.ensure_future(load.run(requests=amount))
        for _ in range(300):
            await asyncio.sleep(0.1)
            if len(load.round.firsts) >= amount:
                break
        begun = len(load.round.firsts)
        held = memory(server.pid)["rss"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return held, amount - begun


async def growth(bench: Bench) -> list[Table]:
    """Measures memory over many requests, after each tenth of them."""
    total = bench.effort.requests
    table = Table(f"MB (rss) over {total:,} requests", ("", "after a tenth", "after a half", "at the end", "failures"))
    table.notes.append("The store may hold 64 MB here; replies that are not kept say `store: false`.")
    for label, model, dialect, store, count in (
        ("not streamed", "plain", "chat", False, total),
        ("not streamed, kept in the store", "plain", "chat", None, total),
        ("streams of one delta", "s-1-0", "chat", False, total // 4),
        ("responses over messages", "only-messages/plain", "responses", False, total // 4),
    ):
        stream = model == "s-1-0"
        server = bench.fleet.plano(name=f"plano growth {dialect}")
        request = server.request(dialect, model, stream=stream, store=store)
        seen, failures = [], 0
        ends_with = wire.LAST[dialect] if stream else b""
        async with Load(server.port, request, connections=32, ends_with=ends_with) as load:
            for _ in range(10):
                failures += (await load.run(requests=count // 10, patience=300)).failures
                seen.append(memory(server.pid)["rss"])
        table.add(f"{label}, {count:,}", seen[0], seen[4], seen[9], failures)
        bench.found[f"growth {label}"] = Figure([seen[9] - seen[0]])
        bench.fleet.end(server)
    return [table]


async def starting(bench: Bench) -> list[Table]:
    """Measures the import, and the time from a command to the first reply."""
    imports = Table("Importing, in a new process, less an empty one", ("", "wall ms", "CPU ms"))
    empty = _run([PYTHON, "-c", "pass"], bench.effort.repeats)
    lines = [
        ("import plano", [PYTHON, "-c", "import plano"]),
        ("from plano import Plano", [PYTHON, "-c", "from plano import Plano"]),
        ("import plano.cli", [PYTHON, "-c", "import plano.cli"]),
    ]
    litellm = PEERS / "litellm/bin/python"
    if litellm.exists() and bench.effort.peers:
        lines.append(("import litellm", [str(litellm), "-c", "import litellm"]))
    for label, command in lines:
        wall, cpu = _run(command, bench.effort.repeats)
        figures = [
            Figure([value - base.median for value in each.values]) for each, base in ((wall, empty[0]), (cpu, empty[1]))
        ]
        imports.add(label, *figures)
        bench.found[label] = figures[0]
    heaviest = Table("What importing `plano.app` costs most", ("module, with what only it imports", "ms"))
    for name, milliseconds in _import_times("plano.app")[:12]:
        heaviest.add(f"`{name}`", milliseconds)
    begun = Table("From the command to the first reply", ("", "wall ms", "CPU ms"))
    for name in ALL[1:]:
        server = bench.server(name) if bench.effort.peers or name in ALL[:4] else None
        if server is not None:
            begun.add(server.name, *(seconds * 1000 for seconds in server.started))
    return [imports, heaviest, begun]


def _run(command: Sequence[str], repeats: int) -> tuple[Figure, Figure]:
    """The wall and CPU ms of a command. It runs once before, to fill caches."""
    walls, cpus = [], []
    for _ in range(repeats + 1):
        before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, env=environment(LITELLM_LOCAL_MODEL_COST_MAP="True")) as process:
            process.wait()  # with a deadline it would poll every 50 ms, and that would be measured
        if process.returncode:
            raise RuntimeError(f"{command} ended with status {process.returncode}")
        walls.append((time.perf_counter() - began) * 1000)
        after = getrusage(RUSAGE_CHILDREN)
        cpus.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return Figure(walls[1:]), Figure(cpus[1:])


def _import_times(module: str) -> list[tuple[str, float]]:
    """The packages that an import loads, with the ms that each takes itself (`python -X importtime`)."""
    command = [PYTHON, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    own: dict[str, float] = {}
    for line in done.stderr.splitlines()[1:]:
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            package = parts[2].strip().split(".")[0]
            own[package] = own.get(package, 0.0) + int(parts[0]) / 1000
    return sorted(own.items(), key=lambda each: -each[1])
