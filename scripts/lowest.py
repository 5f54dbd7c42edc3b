"""Print the lowest allowed version of every dependency in pyproject.toml, extras included, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def floors() -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        floor = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
        assert floor, f"{requirement}: it names no lowest version"
        found.append(f"{floor[1]}=={floor[2]}")
    return found


if __name__ == "__main__":
    print("\n".join(floors()))
