"""The entry to all benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks import budgets, codecs, instructions, machine, peers, report, residents, scenarios
from benchmarks.report import Table
from benchmarks.scenarios import QUICK, Bench, Effort
from benchmarks.servers import ROOT, Fleet

SCENARIOS: dict[str, Callable[[Bench], Awaitable[list[Table]]]] = {
    "requests": scenarios.requests,
    "streams": scenarios.streams,
    "delays": scenarios.delays,
    "prompts": scenarios.prompts,
    "filters": scenarios.filters,
    "workers": scenarios.workers,
    "memory": residents.footprint,
    "growth": residents.growth,
    "start": residents.starting,
}
"""The scenarios that need servers."""

OFFLINE: dict[str, Callable[[], list[Table]]] = {
    "codecs": codecs.tables,
    "instructions": lambda: [found] if (found := instructions.table()) else [],
}

MODULES = {
    "state": ["benchmarks.state", "--stores", "memory,sqlite", "--chains", "1000", "--repeat", "50"],
    "transport": ["benchmarks.micro_transport"],
    "served": ["benchmarks.served"],
}
"""The scenarios that are programs of their own. They are left out if they cannot run."""

README = Path(__file__).with_name("README.md")


def main() -> int:
    given = _arguments()
    names = given.scenarios or [*SCENARIOS, "codecs"]
    effort = QUICK if given.quick else Effort()
    changes = {
        "repeats": given.repeats,
        "seconds": given.seconds,
        "requests": given.requests,
        "concurrencies": given.concurrency and tuple(given.concurrency),
        "peers": False if given.no_peers else None,
    }
    effort = replace(effort, **{key: value for key, value in changes.items() if value is not None})
    machine.raise_file_limit()
    pinning = machine.Pinning(enabled=not given.no_pinning)
    began = time.monotonic()
    head = _head(pinning)
    print(head, flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tables, bench = runner.run(_served(names, effort, pinning))
    for name in names:
        if name in OFFLINE:
            tables += _shown(OFFLINE[name]())
    programs = [_program(name) for name in names if name in MODULES]
    overview = _shown([budgets.table(bench)]) if bench is not None else []
    tail = f"The run took {(time.monotonic() - began) / 60:.0f} minutes."
    print(tail)
    if given.write:
        parts = [head, *map(str, overview), *map(str, tables), *programs, tail]
        report.write(given.write, "\n\n".join(part.strip() for part in parts))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures plano, and peers beside it.")
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"any of {', '.join(_names())}")
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes, and wide spreads")
    parser.add_argument("--repeats", type=int, help="of each measurement")
    parser.add_argument("--seconds", type=float, help="that each measurement takes")
    parser.add_argument("--requests", type=int, help="in `growth`")
    parser.add_argument("--concurrency", type=int, nargs="+", help="in `requests`")
    parser.add_argument("--no-peers", action="store_true", help="without Portkey and LiteLLM")
    parser.add_argument("--no-pinning", action="store_true", help="let the system choose the cores")
    parser.add_argument("--write", type=Path, nargs="?", const=README, help="put the results into a file [README.md]")
    given = parser.parse_args()
    unknown = set(given.scenarios) - set(_names())
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    return given


def _names() -> list[str]:
    return [*SCENARIOS, *OFFLINE, *MODULES]


def _head(pinning: machine.Pinning) -> str:
    there = peers.versions()
    found = ", ".join(f"{name} ({version})" for name, version in there.items() if version)
    missing = ", ".join(name for name, version in there.items() if not version)
    command = " ".join(["python -m benchmarks", *(given for given in sys.argv[1:] if not given.endswith(".md"))])
    lines = [
        f"plano {machine.commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{command}`",
        *machine.describe(),
        f"{pinning}",
        f"peers: {found or 'none'}" + (f"; not installed: {missing} (`make bench-peers`)" if missing else ""),
    ]
    return "\n".join(f"- {line}" for line in lines) + "\n"


async def _served(names: list[str], effort: Effort, pinning: machine.Pinning) -> tuple[list[Table], Bench | None]:
    chosen = [name for name in names if name in SCENARIOS]
    if not chosen:
        return [], None
    fleet = Fleet(pinning=pinning)
    pinning.pin_self()
    gc.freeze()
    gc.disable()  # a collection in the load's process would look like a slow server
    try:
        bench = Bench(fleet, effort, lambda text: print(f"  ... {text}", file=sys.stderr, flush=True))
        tables: list[Table] = []
        for name in chosen:
            bench.say(name)
            tables += _shown(await SCENARIOS[name](bench))
            gc.collect()
        return tables, bench
    finally:
        fleet.stop()


def _shown(tables: list[Table]) -> list[Table]:
    for table in tables:
        print(table, flush=True)
    return tables


def _program(name: str) -> str:
    module, *arguments = MODULES[name]
    if importlib.util.find_spec(module) is None:
        return f"### {name}\n\n`{module}` is not there.\n"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    said = done.stdout if done.returncode == 0 else done.stderr[-1000:]
    text = f"### {name}\n\n" + (said if "| ---" in said else f"```text\n{said.strip()}\n```\n")
    print(text, flush=True)
    return text


if __name__ == "__main__":
    sys.exit(main())
