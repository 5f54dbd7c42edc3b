"""The gateways and tools that plano is measured beside: `python -m benchmarks.peers` installs them.

No peer is required: one that cannot be installed is named and left out of the tables. Python and Node packages go into
`benchmarks/.peers`, which git ignores; nginx and wrk come from the system's packages, if this user may install them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.machine import version
from benchmarks.servers import PEERS

_DEBIAN = ("nginx-light", "wrk")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def install() -> None:
    PEERS.mkdir(exist_ok=True)
    for name, step in (("nginx and wrk", _debian), ("LiteLLM", _litellm), ("Portkey", _portkey)):
        print(f"{name}: {step()}", flush=True)


def versions() -> dict[str, str | None]:
    """The version of each peer; None if it is not installed."""
    nginx = shutil.which("nginx", path=_PATH)
    wrk = shutil.which("wrk")
    litellm = PEERS / "litellm/bin/python"
    portkey = PEERS / "portkey/node_modules/@portkey-ai/gateway/package.json"
    find = "import importlib.metadata as m, platform as p; print(m.version('litellm'), 'on Python', p.python_version())"
    node = version("node", "--version")
    return {
        "nginx": version(nginx, "-v") if nginx else None,
        "wrk": version("wrk", "-v") if wrk else None,
        "LiteLLM": version(str(litellm), "-c", find) if litellm.exists() else None,
        "Portkey": f"{json.loads(portkey.read_text())['version']} on Node {node}"
        if portkey.exists() and node
        else None,
    }


def _debian() -> str:
    if all(shutil.which(program, path=_PATH) for program in ("nginx", "wrk")):
        return "already there"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"not installed; with Debian's packages: apt-get install {' '.join(_DEBIAN)}"
    env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    updated = _run(["apt-get", "update", "-q"], env)
    return updated or _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *_DEBIAN], env) or "installed"


def _litellm() -> str:
    folder = PEERS / "litellm"
    if (folder / "bin/litellm").exists():
        return "already there"
    made = _run([sys.executable, "-m", "venv", str(folder)])
    return made or _run([str(folder / "bin/pip"), "install", "--quiet", "litellm[proxy]"]) or "installed"


def _portkey() -> str:
    folder = PEERS / "portkey"
    if (folder / "node_modules/@portkey-ai/gateway").exists():
        return "already there"
    if shutil.which("npm") is None:
        return "not installed: there is no npm"
    folder.mkdir(exist_ok=True)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "@portkey-ai/gateway"]
    return _run(command) or "installed"


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    """Runs a command and returns its error, or "" if it worked. It raises nothing, because a peer may be missing."""
    try:
        done = subprocess.run(
            command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=900, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not installed: {error}"
    return "" if done.returncode == 0 else f"not installed: {(done.stderr or done.stdout).strip()[-300:]}"


if __name__ == "__main__":
    install()
