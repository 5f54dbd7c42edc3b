"""Counts the instructions of inputs that grow, to find work that grows faster than they do.

    python -m benchmarks.growth            each input at four sizes, by `perf stat` or, failing that, valgrind
    python -m benchmarks.growth requests   those whose names hold the word

`tests/test_growth.py` counts lines of Python for the same inputs. It cannot see what one line makes C code do, such as
to copy a list or to parse a text anew; that is seen here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchmarks import grown_requests, grown_streams
from benchmarks.instructions import counter
from benchmarks.machine import PYTHON
from benchmarks.report import Table

SIZES = (1, 2, 4, 8)
FIRST = 200
MOST = 2.6
"""The most that the second half of the growth may cost, as a multiple of the first. 2 is linear, 4 is quadratic."""


class Growing(NamedTuple):
    """An input that grows; `make(n)` prepares the work for size n."""

    name: str
    make: Callable[[int], Callable[[], object]]


def works() -> Iterator[Growing]:
    for name, make in (*grown_requests.works(), *grown_streams.works()):
        yield Growing(name, make)


def steepness(costs: list[int]) -> float:
    """How much more the growth from the third size to the last costs than that from the second to the third, if that is
    not small beside what every size costs."""
    _, second, third, last = costs
    return (last - third) / max(third - second, second // 2, 1)


def run(name: str, size: int, rounds: int) -> None:
    """Runs one work in the process that is counted."""
    work = next(each for each in works() if each.name == name).make(size)
    for _ in range(rounds):
        work()


def table(word: str) -> tuple[Table, list[str]] | None:
    """The instructions of each input, and the names of those that grow too fast; None if nothing counts them here."""
    count = counter()
    if count is None:
        return None

    def counted(name: str, size: int) -> int:
        none, one = (
            count([PYTHON, "-m", "benchmarks.growth", "--run", name, str(size), str(rounds)]) for rounds in (0, 1)
        )
        return one - none

    found = Table("Instructions, in thousands, by size", ("input", *(f"×{size}" for size in SIZES), "steepness"))
    steep = []
    with ThreadPoolExecutor(2) as pool:
        for work in works():
            if word in work.name:
                costs = list(pool.map(lambda size, name=work.name: counted(name, FIRST * size), SIZES))
                found.add(work.name, *(f"{cost // 1000:,}" for cost in costs), f"{steepness(costs):.2f}")
                if steepness(costs) > MOST:
                    steep.append(work.name)
    return found, steep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs=3, metavar=("INPUT", "SIZE", "ROUNDS"), help=argparse.SUPPRESS)
    parser.add_argument("word", nargs="?", default="")
    given = parser.parse_args()
    if given.run:
        run(given.run[0], int(given.run[1]), int(given.run[2]))
        return
    found = table(given.word)
    if found is None:
        print("Neither `perf stat` nor valgrind counts instructions here.")
        return
    print(found[0])
    sys.exit(f"These grow too fast: {', '.join(found[1])}" if found[1] else None)


if __name__ == "__main__":
    main()
