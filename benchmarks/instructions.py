"""Counts the instructions that the codecs need for a fixed workload, as a guard that does not depend on a clock.

    python -m benchmarks.instructions            counts with `perf stat` or, failing that, valgrind
    python -m benchmarks.instructions --list     the workloads

Each workload runs a few times in one process and some more times in another; the difference is the cost of the work
alone. On one machine and one Python, counts repeat to within about one in a thousand, so a visible change is real.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import PYTHON
from benchmarks.report import Table
from benchmarks.servers import ROOT

FEW, MANY = 20, 60

KEPT = (
    "peek at a request, chat",
    "request, chat over messages",
    "request, messages over chat",
    "request, responses over chat",
    "reply, chat over messages",
    "reply, messages over chat",
    "reply, responses over chat",
    "delta, chat over messages",
    "delta, messages over chat",
    "delta, messages over responses",
    "delta, responses over chat",
    "frames aligned, chat, one a read",
    "frames aligned, chat, cut every 97 bytes",
    "frames parsed, chat",
)
"""One of each kind: all pairs would take an hour under valgrind."""


def run(name: str, rounds: int) -> None:
    """Runs a workload in the process that is counted."""
    from benchmarks.codecs import works

    work = next(each for each in works() if each.name.startswith(name))
    for _ in range(rounds):
        work.run()


def size(name: str) -> int:
    from benchmarks.codecs import works

    return next(each.size for each in works() if each.name.startswith(name))


def counter() -> Callable[[list[str]], int] | None:
    """The tool that counts a command's instructions on this machine, or None."""
    if shutil.which("perf") is not None and _perf([PYTHON, "-c", "pass"]):
        return _perf
    return _callgrind if shutil.which("valgrind") is not None else None


_ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _perf(command: list[str]) -> int:
    said = _stderr(["perf", "stat", "-x", ",", "-e", "instructions:u", "--", *command])
    found = re.search(r"^(\d+),", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _callgrind(command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        said = _stderr(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command])
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing: {said[-500:]}")
    return int(found[1])


def _stderr(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=_ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    return done.stderr


def table() -> Table | None:
    """The instructions per operation; None if this machine has no tool to count them."""
    count = counter()
    if count is None:
        return None

    def counted(name: str) -> tuple[str, float]:
        few, many = (
            count([PYTHON, "-m", "benchmarks.instructions", "--run", name, str(rounds)]) for rounds in (FEW, MANY)
        )
        return name, (many - few) / (MANY - FEW) / size(name)

    found = Table(f"Instructions ({count.__name__.strip('_')}; deterministic)", ("operation", "instructions"))
    with ThreadPoolExecutor(2) as pool:
        for name, instructions in pool.map(counted, KEPT):
            found.add(name, f"{instructions:,.0f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs=2, metavar=("WORKLOAD", "ROUNDS"), help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.run:
        run(given.run[0], int(given.run[1]))
    elif given.list:
        print("\n".join(KEPT))
    else:
        print(table() or "Neither `perf stat` nor valgrind counts instructions here.")


if __name__ == "__main__":
    main()
