"""Write docs/reference.md: the names of `plano`, the neutral model and the errors, from their docstrings.

The sources are parsed and not imported, because that keeps their order and the types as they are written. With
`--check` nothing is written; the exit status is 1 if the page is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"

HEAD = """\
# Reference

<!-- Written by scripts/reference.py from the docstrings; `make docs` brings it up to date. -->

These are the names that filters import. [filters.md](filters.md) shows their use; [translation.md](translation.md)
shows how each API is translated.
"""

_SECTION = re.compile(r"^# --- (.+?) -+$")
_ATTRIBUTE = re.compile(r"^([\w, ]+): (.*)$")
_BLOCK = re.compile(r"^(Args|Attributes|Raises):$")


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_names(), *_module("conversation", "The neutral model"), *_module("errors", "Errors")]
    return "\n".join(parts).rstrip() + "\n"


def _names() -> Iterator[str]:
    """A table of the names that `from plano import ...` takes."""
    tree = _parsed("plano/__init__.py")
    yield "## `plano`\n"
    yield "| name | from | meaning |"
    yield "| --- | --- | --- |"
    homes = ast.literal_eval(_assigned(tree, "_HOMES"))
    for name in ast.literal_eval(_assigned(tree, "__all__")):
        if name in homes:
            yield f"| `{name}` | `{homes[name]}` | {_summary(homes[name], name)} |"
    yield ""


def _summary(module: str, name: str) -> str:
    """The first sentence about a name; an alias without one is shown."""
    tree = _parsed(module.replace(".", "/") + ".py")
    for node, text in _with_texts(tree.body):
        if _name_of(node) == name:
            if text is None:
                assert isinstance(node, ast.AnnAssign), f"{module}.{name} has no docstring"
                assert node.value is not None
                return f"`{ast.unparse(node.value)}`"
            return _cell(cleandoc(text).split("\n\n")[0])
    raise AssertionError(f"{module} has no {name}")


def _module(name: str, title: str) -> Iterator[str]:
    path = f"plano/{name}.py"
    tree, lines = _parsed(path), (ROOT / path).read_text().splitlines()
    headings = {number: found[1] for number, line in enumerate(lines, 1) if (found := _SECTION.match(line))}
    yield f"## {title}: `plano.{name}`\n"
    yield f"{_markdown(ast.get_docstring(tree) or '')}\n"
    for node, text in _with_texts(tree.body):
        for number in [number for number in headings if number < node.lineno]:
            yield f"### {headings.pop(number).capitalize()}\n"
        if isinstance(node, ast.AnnAssign) and _is_alias(node):
            yield from _alias(node, text)
        elif isinstance(node, ast.ClassDef) and name != "errors":
            yield from _struct(node, text)
    if name == "errors":
        yield from _errors(tree)


def _struct(node: ast.ClassDef, text: str | None) -> Iterator[str]:
    """A heading, the docstring and a table of the fields."""
    yield f"#### {'Every part' if node.name.startswith('_') else f'`{node.name}`'}\n"
    about, attributes = _split(text or "")
    if about:
        yield f"{_markdown(about)}\n"
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    if fields:
        yield "| field | type | default | |"
        yield "| --- | --- | --- | --- |"
    for each in fields:
        default = "" if each.value is None else f"`{ast.unparse(each.value)}`"
        meaning = _cell(attributes.get(_name_of(each), ""))
        yield f"| `{_name_of(each)}` | `{_escaped(ast.unparse(each.annotation))}` | {_escaped(default)} | {meaning} |"
    if fields:
        yield ""


def _errors(tree: ast.Module) -> Iterator[str]:
    """A table of the error classes; a class inherits the defaults that it does not set."""
    said: dict[str, dict[str, object]] = {"Exception": {}}
    _, attributes = next(_split(text or "") for node, text in _with_texts(tree.body) if _name_of(node) == "PlanoError")
    yield "| attribute of every error | |"
    yield "| --- | --- |"
    yield from (f"| `{name}` | {_cell(meaning)} |" for name, meaning in attributes.items())
    yield ""
    yield "| error | is a | status | kind | code | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for node, text in _with_texts(tree.body):
        if isinstance(node, ast.ClassDef):
            base = ast.unparse(node.bases[0])
            own = {_name_of(each): each.value for each in node.body if isinstance(each, ast.Assign | ast.AnnAssign)}
            said[node.name] = said[base] | {name: ast.literal_eval(value) for name, value in own.items() if value}
            cells = (_shown(said[node.name].get(f"default_{what}")) for what in ("status", "kind", "code"))
            yield f"| `{node.name}` | `{base}` | {' | '.join(cells)} | {_cell(_split(text or '')[0])} |"
    yield ""


def _shown(value: object) -> str:
    return "" if value is None else f"`{value}`" if isinstance(value, str) else str(value)


def _alias(node: ast.AnnAssign, text: str | None) -> Iterator[str]:
    assert node.value is not None
    yield f"#### `{_name_of(node)}`\n"
    yield f"`{ast.unparse(node.value)}`\n"
    if text is not None:
        yield f"{_markdown(cleandoc(text))}\n"


def _split(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without its list of attributes, and that list."""
    about: list[str] = []
    attributes: dict[str, str] = {}
    names: list[str] = []
    block = ""
    for line in cleandoc(text).splitlines():
        started = _BLOCK.match(line)
        if started:
            block = started[1]
        elif line and not line.startswith(" "):
            block = ""
        if block != "Attributes":
            about.append(line)
            continue
        found = _ATTRIBUTE.match(line.removeprefix("    ")) if not line.startswith("     ") else None
        if found and not started:
            names = found[1].split(", ")
            attributes |= dict.fromkeys(names, found[2])
        elif line.strip() and not started:
            attributes |= {name: f"{attributes[name]} {line.strip()}" for name in names}
    return "\n".join(about).strip(), attributes


def _markdown(text: str) -> str:
    """A docstring's text; an indented drawing in it becomes a code block."""
    out: list[str] = []
    drawn = False
    for line in text.splitlines():
        indented = line.startswith("    ")
        if indented != drawn and line:
            blank = not indented and out and not out[-1]
            out[len(out) - bool(blank) :] = ["```", *([""] if blank else [])]
            drawn = indented
        out.append(line.removeprefix("    ") if drawn else line)
    return "\n".join([*out, "```"] if drawn else out)


def _with_texts(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str | None]]:
    """Definitions with their docstrings; the docstring of an assignment is the string after it."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef):
            yield node, ast.get_docstring(node)
        elif isinstance(node, ast.AnnAssign):
            followed = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            yield node, str(after.value.value) if followed else None  # type: ignore[union-attr]


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target)
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return node.name if isinstance(node, ast.ClassDef) else ""


def _is_alias(node: ast.AnnAssign) -> bool:
    return ast.unparse(node.annotation) == "TypeAlias" and not _name_of(node).startswith("_")


def _parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    return next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == name for target in node.targets)
    )


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main(*arguments: str, path: Path = PAGE) -> int:
    """Write the page, or check whether it is stale. Returns the exit status."""
    written = page()
    if "--check" in arguments:
        return int(not path.exists() or path.read_text() != written)
    path.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
