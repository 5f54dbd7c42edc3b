"""Reads the CPU time and the memory of processes, and describes the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

LIBRARIES = ("uvicorn", "uvloop", "httptools", "starlette", "httpx", "msgspec")


def tree(pid: int) -> list[int]:
    """The process and all its descendants, because a server's workers are its children."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:  # the thread has ended in the meantime
                continue
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that the processes have used, ended threads included.

    clock_getcpuclockid(3) computes the id of a process's clock like this; /proc/<pid>/stat only has 1/100 s.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def memory(pid: int) -> dict[str, float]:
    """The memory of the process and its children in MB: `rss`, `pss` (shared pages are divided among their users) and
    `peak`, the highest `rss` since `forget_peak`."""
    total = {"rss": 0.0, "pss": 0.0, "peak": 0.0}
    for each in tree(pid):
        rollup, status = Path(f"/proc/{each}/smaps_rollup"), Path(f"/proc/{each}/status")
        for path, field, name in ((rollup, "Rss:", "rss"), (rollup, "Pss:", "pss"), (status, "VmHWM:", "peak")):
            total[name] += _kilobytes(path, field) / 1000
    return total


def _kilobytes(path: Path, field: str) -> int:
    return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field)), 0)


def forget_peak(pid: int) -> None:
    """Resets `peak` (proc(5), clear_refs, value 5)."""
    for each in tree(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def raise_file_limit() -> int:
    """Allows as many open files as possible; child processes inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 65536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Pinning:
    """Divides the cores: some for the server under test, the others for the upstream and the load.

    With one core, or on a system that does not tell its cores, nothing is pinned.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        found = cores() if enabled else []
        self.tested: list[int] = found[:1] if len(found) > 1 else []
        self.load: list[int] = found[1:] if len(found) > 1 else []
        self.all = found

    def pin_self(self) -> None:
        if self.load:
            os.sched_setaffinity(0, self.load)

    def __str__(self) -> str:
        if not self.tested:
            return "no cores pinned"
        return f"server under test on core {self.tested[0]}, load and upstream on {', '.join(map(str, self.load))}"


def describe() -> list[str]:
    """The machine, the system and the versions, on a line each."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    memory = _kilobytes(Path("/proc/meminfo"), "MemTotal:") / 1e6
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return [
        f"{len(cores())} cores of {model}, {memory:.0f} GB, {platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}",
        f"load average at the start: {os.getloadavg()[0]:.2f}",
    ]


def version(*command: str) -> str | None:
    """The version that a program prints, or None if it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = (said.stdout + said.stderr).strip().splitlines()
    return lines[0] if lines else None


def commit() -> str:
    """The commit of this plano."""
    said = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return said.stdout.strip() or "unknown"


def environment(**more: str) -> dict[str, str]:
    """The environment for started processes. It lets Python write bytecode, as it does for installed programs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | more


PYTHON = sys.executable
