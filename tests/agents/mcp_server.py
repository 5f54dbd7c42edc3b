"""An MCP server on standard input and output, run as a program: its one tool looks words up.

It speaks as much of the protocol as coding agents use: `initialize`, `tools/list`, `tools/call` and `ping` (Model
Context Protocol 2025-06-18, sections "Lifecycle" and "Tools"). Imports nothing but the standard library, because the
agents start it with an environment of their own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = {
    "name": "lookup",
    "description": "Looks a word up in the dictionary of this office.",
    "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    "annotations": {"readOnlyHint": True},
}


def meaning(word: str) -> str:
    """The tool's answer about a word, which nobody could guess."""
    return f"{word} means {sum(map(ord, word))}"


def result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        version = params.get("protocolVersion", "2025-06-18")
        server = {"name": "desk", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": meaning(params["arguments"]["word"])}]}
    return {} if method == "ping" else None


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked or "method" not in asked:
            continue
        found = result(asked["method"], asked.get("params") or {})
        unknown = {"error": {"code": -32601, "message": "Method not found"}}
        said = unknown if found is None else {"result": found}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)


if __name__ == "__main__":
    main()
