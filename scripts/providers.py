"""Write docs/providers.md: what each provider's API takes, from the rows of the catalogue.

With `--check` nothing is written; the exit status is 1 if the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from plano.capabilities import OWN_FIELDS, Takes, Thinking
from plano.provider import Provider
from plano.providers import CATALOGUE
from plano.providers.other_apis import EVERY_MODEL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "providers.md"

HEAD = """\
# Providers

<!-- Written by scripts/providers.py from the rows in `providers/`; `make docs` brings it up to date. -->

One section for each provider, one line for each rule about some of its models. A line with *all* holds for every
model; a line below it holds for models whose ids begin so (`*` stands for any characters, `[5-9]` for one of these),
and the longest pattern wins, cell by cell. An empty cell says nothing of its own. A line that names an API holds for
what is asked over that one.

- **thinking**: when the model thinks (*never*, *asked*: if the request asks for it, *default*: unless the request
  forbids it, *always*), with the efforts that it knows and the field that turns thinking on and off. An effort that it
  does not know becomes the nearest one that it knows, and that is reported.
- **reasoning goes back in**: the field in which the reasoning of earlier messages is sent; *nowhere* if the API takes
  none back, which is reported.
- **changed**: what is written in another form. **left out**: what the API refuses; it is reported.
- **most output**: tokens. A higher limit of a client of another API is sent as this.

What is reported stands in the response header `x-plano-dropped`, in a metric and in the log; with strict translation
such a request is refused. [translation.md](translation.md) shows how each API is translated.
"""

_KINDS = {
    "budget": "by a budget",
    "adaptive": "adaptive",
    "both": "adaptive or by a budget",
    "switch": "on or off",
}
"""How the messages API is told to think, by `Thinking.claude`."""

_COLUMNS = ("models", "served over", "thinking", "reasoning goes back in", "changed", "left out", "most output")


def page() -> str:
    """The whole page."""
    return (
        "\n".join([HEAD, *(line for name in sorted(CATALOGUE) for line in _section(CATALOGUE[name]))]).rstrip() + "\n"
    )


def _section(row: Provider) -> Iterator[str]:
    yield f"## {row.name}\n"
    yield f"{_place(row)} {_apis(row)}\n"
    if row.takes:
        yield f"| {' | '.join(_COLUMNS)} |"
        yield f"|{' --- |' * len(_COLUMNS)}"
        for start, takes in row.takes.items():
            if not takes.dialects or set(takes.dialects) & set(row.paths):
                only = takes.dialects if set(row.paths) - set(takes.dialects) else ()
                yield f"| {' | '.join(_cells(start, takes, only))} |"
        yield ""


def _place(row: Provider) -> str:
    if row.name == "demo":
        return "Answers inside plano, without a key."
    if row.base_url is None:
        return "An entry gives its `base_url`."
    return f"`{row.base_url}`."


def _apis(row: Provider) -> str:
    used = row.speaks or tuple(row.paths)
    said = f"Asked over {_words(used)}."
    others = tuple(dialect for dialect in row.paths if dialect not in used)
    return said + (f" With `apis`, also over {_words(others)}." if others else "")


def _cells(start: str, takes: Takes, only: tuple[str, ...]) -> Iterator[str]:
    """The cells of a row; `only` are the APIs that it holds for, if the provider has others."""
    models = "*all*" if start in ("", *EVERY_MODEL.values()) else f"`{start}`"
    yield models + (f" over {_words(only)}" if only else "")
    yield _words(takes.apis or ()) + (f" (with tools and reasoning: {takes.tools_over})" if takes.tools_over else "")
    yield "" if takes.thinking is None else _thinking(takes.thinking)
    yield "" if takes.thoughts is None else f"`{takes.thoughts}`" if takes.thoughts else "nowhere"
    yield "; ".join(_changed(takes))
    yield "; ".join(_left_out(takes))
    yield "" if takes.max_tokens is None else f"{takes.max_tokens}"


def _thinking(thinking: Thinking) -> str:
    found = [thinking.when]
    if thinking.efforts:
        found.append("efforts " + _words(thinking.efforts))
    if thinking.switch:
        found.append(f"switch `{thinking.switch}`")
    if thinking.budget:
        found.append(f"tokens in `{thinking.budget}`")
    if thinking.claude:
        found.append(_KINDS[thinking.claude])
    return ", ".join(found)


def _changed(takes: Takes) -> Iterator[str]:
    if takes.developer is False:
        yield "`developer` messages are `system`"
    if takes.systems == "one":
        yield "system messages are one, in front; later ones are the user's"
    for old, new in (takes.renames or {}).items():
        yield f"`{old}` is `{new}`"
    if takes.needs_thoughts:
        yield "with tools, missing reasoning gets a placeholder"
    if takes.call_seals == "needed":
        yield "a call without Google's signature gets its placeholder"
    if takes.forces == "unthinking":
        yield "a forced tool turns thinking off"
    elif takes.forces == "never":
        yield "a forced tool is left to choose"
    for name, value in (takes.adds or {}).items():
        yield f"`{name}` is {str(value).lower()} for clients of other APIs"


def _left_out(takes: Takes) -> Iterator[str]:
    for refused in takes.refuses or ():
        names = [f"`{name}`" + _but(refused.harmless.get(name)) for name in refused.fields]
        yield ", ".join(names) + (" while it thinks" if refused.thinking else "")
    for kept, excluded in (takes.excludes or {}).items():
        yield f"`{excluded}` beside `{kept}`"
    if takes.call_seals == "refused":
        yield "Google's signatures of calls"
    if takes.searches is False:
        yield "web search"
    if takes.knows is not None:
        yield ", ".join(f"`{name}`" for name in OWN_FIELDS if name not in takes.knows)


def _but(harmless: float | None) -> str:
    return "" if harmless is None else f" (but {str(harmless).lower()})"


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(*arguments: str, path: Path = PAGE) -> int:
    """Write the page, or check it. Returns the exit status."""
    if "--check" in arguments:
        return 0 if path.exists() and path.read_text() == page() else 1
    path.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
