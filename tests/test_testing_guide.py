"""Every example of the guide to testing, run by pytest as its readers would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from plano.testing import WAYS
from tests.documents import ROOT, examples

GUIDE = "docs/testing.md"


def test_the_examples_pass_as_tests_of_the_service(tmp_path: Path) -> None:
    service, *tests = examples(GUIDE, "python")
    (tmp_path / "service.py").write_text(service)
    for number, code in enumerate(tests):
        (tmp_path / f"test_example_{number}.py").write_text(code)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = sum(
        len(re.findall(r"^def test_", code, re.MULTILINE)) * (len(WAYS) if "WAYS)" in code else 1) for code in tests
    )
    assert f"{expected} passed" in done.stdout
