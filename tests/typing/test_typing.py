"""What a type checker tells those who write filters: nothing where they are right, the mistake where they are wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.documents import ROOT

HERE = Path(__file__).parent
_MARK = re.compile(r"# error: (.*)$")
_FOUND = re.compile(r"^(.+\.py):(\d+): error: (.*?)  \[[\w-]+\]$", re.MULTILINE)


@cache
def found() -> dict[str, dict[int, str]]:
    """The errors by file and line, of one run over all files, with the project's own settings and mypy's cache."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "tests/typing/right.py", "tests/typing/wrong.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    files: dict[str, dict[int, str]] = {"right.py": {}, "wrong.py": {}}
    for path, line, message in _FOUND.findall(done.stdout):
        files[Path(path).name][int(line)] = message
    return files


def expected(name: str) -> dict[int, str]:
    lines = enumerate((HERE / name).read_text().splitlines(), 1)
    return {number: mark[1] for number, line in lines if (mark := _MARK.search(line))}


def test_right_filters_are_right() -> None:
    assert found()["right.py"] == {}


def test_only_what_is_marked_is_wrong() -> None:
    assert set(found()["wrong.py"]) == set(expected("wrong.py"))


@pytest.mark.parametrize("line", expected("wrong.py"))
def test_a_mistake_is_told(line: int) -> None:
    assert expected("wrong.py")[line] in found()["wrong.py"].get(line, "nothing")
