"""Counts the user-space instructions of whole requests, in `plano up` and in uvicorn alone.

    python -m benchmarks.served [CASE ...]

Servers run under valgrind, one request at a time, and the counters start after a warm-up. Unlike times, these counts do
not depend on other work of the machine: they repeat to within a few per cent. The work of the kernel is not in them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from benchmarks import machine, wire
from benchmarks.load import Load
from benchmarks.report import Table
from benchmarks.servers import Fleet, Server, model_for

DELTAS = 100
PACED = f"s-{DELTAS}-5"

CASES = (
    ("uvicorn alone", "", "chat", "plain"),
    ("plano, chat", "chat", "chat", "plain"),
    ("plano, messages", "messages", "messages", "plain"),
    ("plano, responses", "responses", "responses", "plain"),
    ("plano, chat over messages", "chat", "messages", "plain"),
    ("a delta, uvicorn alone", "", "chat", PACED),
    ("a delta, plano, chat", "chat", "chat", PACED),
    ("a delta, plano, messages", "messages", "messages", PACED),
    ("a delta, plano, responses", "responses", "responses", PACED),
    ("a delta, plano, chat over messages", "chat", "messages", PACED),
)
"""A name, the client's dialect or nothing for uvicorn alone, the upstream's, and the model."""

REQUESTS = {"plain": 1000, PACED: 30}


async def counted(fleet: Fleet, folder: Path, client: str, upstream: str, model: str) -> float:
    """The instructions of a request, or of one delta of a stream."""
    out = folder / "callgrind.out"
    fleet.under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    server = fleet.plano() if client else fleet.uvicorn()
    dialect, stream, count = client or "chat", model == PACED, REQUESTS[model]
    asked = model_for(dialect, upstream, model) if client else model
    request = server.request(dialect, asked, stream=stream)
    async with Load(server.port, request, connections=1, ends_with=wire.LAST[dialect] if stream else b"") as load:
        await _ask(load, max(10, count // 3))
        _control(server, "-z")
        await _ask(load, count)
        _control(server, "-d")
    fleet.end(server)
    return _total(Path(f"{out}.1")) / count / (DELTAS if stream else 1)


def _total(dump: Path) -> int:
    said = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    assert said is not None, "valgrind wrote down what it counted"
    return int(said[1])


async def _ask(load: Load, count: int) -> None:
    done = await load.run(requests=count, patience=600)
    assert not done.failures, done.failure


def _control(server: Server, verb: str) -> None:
    subprocess.run(["callgrind_control", verb, str(server.pid)], capture_output=True, check=True, timeout=60)


async def table(names: list[str]) -> Table:
    found = Table("Instructions of whole requests, in user space", ("one at a time", "instructions", "× uvicorn alone"))
    fleet = Fleet(pinning=machine.Pinning(enabled=False))
    base: dict[str, float] = {}
    try:
        for name, client, upstream, model in CASES:
            if names and not any(each in name for each in names):
                continue
            with tempfile.TemporaryDirectory() as folder:
                instructions = await counted(fleet, Path(folder), client, upstream, model)
            base.setdefault(model, instructions)
            found.add(name, f"{instructions:,.0f}", f"{instructions / base[model]:.2f}")
    finally:
        fleet.stop()
    return found


def main() -> None:
    if shutil.which("callgrind_control") is None:
        print("valgrind is not installed; nothing else here counts instructions of a server.")
        return
    print(uvloop.run(table(sys.argv[1:])))


if __name__ == "__main__":
    main()
