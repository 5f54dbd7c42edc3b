"""Finds the message and the code in an error body, in all the forms that servers of the catalogue use.

| body | servers, and their documentation |
| --- | --- |
| `{"error":{"message","type","code","param"}}` | OpenAI, "Error codes"; Anthropic, "Errors" |
| `[{"error":{"code","message","status"}}]` | Google's OpenAI compatible side |
| `{"message","type","code"}`, `{"Message"}`, `{"__type","message"}` | Mistral, Cohere, vLLM, Amazon ("Common errors") |
| `{"detail":[{"loc","msg"}]}`, `{"detail":"…"}`, also under `message`, `error` | FastAPI ("Handling errors"), Mistral |
| `{"errors":[{"code","message"}]}` | Cloudflare ("Make API calls"), watsonx |
| `{"error":"…"}`, with `code` or `message` beside it | Ollama, xAI, many frameworks |
| `{"title","detail","status"}` | Replicate; RFC 9457 |
| a web page, a text, or nothing | proxies in front of any of them |
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

LONGEST_TEXT = 500
"""The most characters that are kept of a body which is not JSON."""

_LONGEST_READ = 16 * 1024
"""The most bytes of such a body that are searched for its title."""

_MOST_TEXTS = 20
"""The most texts of a list that are told."""

_DEEPEST = 8
"""The deepest level of objects and lists at which a text is looked for."""

_TEXTS = ("errors", "message", "Message", "detail", "msg", "error_description", "error", "title")
"""The fields that may hold the message, the best first. `error` is last, because beside another text it is a word like
"Bad Request"; an object in it is looked at first."""

_CODES = ("code", "error_code", "__type")

_TITLE = re.compile(r"<(?:title|h1)\b[^<>]*>([^<]+)", re.IGNORECASE)
_MARKUP = re.compile(r"<(?:script|style)\b[^<>]*>[^<]*|<[^<>]*>", re.IGNORECASE)


def message_in(found: Any, depth: int = _DEEPEST) -> str | None:
    """The message in a parsed body, or in the value of its `error` field; None if it holds no text."""
    if isinstance(found, str):
        return found.strip() or None
    if not depth:
        return None
    if isinstance(found, list):
        return "; ".join(text for each in found[:_MOST_TEXTS] if (text := message_in(each, depth - 1))) or None
    if not isinstance(found, dict):
        return None
    names = _TEXTS if isinstance(found.get("error"), str) else ("error", *_TEXTS)
    text = next((text for name in names if (text := message_in(found.get(name), depth - 1))), None)
    return text if text is None or "msg" not in found else _placed(text, found.get("loc"))


def _placed(text: str, place: Any) -> str:
    """A text of FastAPI's with the path of the field that it is about."""
    steps = [str(step) for step in place if isinstance(step, str | int)] if isinstance(place, list) else []
    return f"{'.'.join(steps)}: {text}" if steps else text


def code_in(found: Any) -> str | None:
    """The machine-readable reason in a parsed error; the innermost object that has one counts."""
    codes = (layer.get(name) for layer in _layers(found) for name in _CODES)
    return next((str(code) for code in codes if isinstance(code, str | int | float) and code != ""), None)


def param_in(found: Any) -> str | None:
    """The path of the offending field in a parsed error."""
    params = (layer.get("param") for layer in _layers(found))
    return next((param for param in params if isinstance(param, str)), None)


def _layers(found: Any) -> list[dict[str, Any]]:
    """The objects that describe an error, the innermost first."""
    layers: list[dict[str, Any]] = []
    while found:
        if isinstance(found, list):
            found = found[0]
            continue
        if not isinstance(found, dict):
            break
        layers.insert(0, found)
        found = found.get("error") or found.get("errors")
    return layers


def text_of(body: bytes) -> str:
    """The text of a body that is not JSON, on one line and shortened; of a web page its title, if it has one."""
    text = body[:_LONGEST_READ].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = unescape(_MARKUP.sub(" ", text) if title is None else title[1])
    return " ".join(text.split())[:LONGEST_TEXT]
