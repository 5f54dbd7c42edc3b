"""Runs an agent's program, in a home of its own and without a network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.documents import ROOT

PROGRAMS = ROOT / ".agents" / "node_modules" / ".bin"
SECONDS = 120
"""The longest that an agent may take. Its work takes about three seconds."""

NOWHERE = "http://127.0.0.1:1"
"""A proxy that nobody runs, so that nothing but loopback can be reached."""


def run(home: Path, name: str, *arguments: str, environment: Mapping[str, str]) -> str:
    """The program's standard output, once it ended well."""
    program = PROGRAMS / name
    assert program.exists(), f"{program} is missing: `make test-agents` installs it"
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1"}
    own |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    done = subprocess.run(
        [program, *arguments],
        cwd=home,
        env=own | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "failed to decode" not in done.stderr, done.stderr[-3000:]
    return done.stdout
