"""Imports point down: a module may import from its own room and from the rooms below."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = [
    room
    for floor in (
        "version errors types",
        "operations credentials conversation conversation_json frames losses codings",
        "capabilities",
        "dialects",
        "provider",
        "candidates attempt",
        "journal",
        "request streams translation",
        "faults response request_ids error_response",
        "pipeline",
        "runtime redis_client routing state observability limits",
        "edge transport",
        "upstream filters providers",
        "config testing",
        "connections conditions observing ui server",
        "generation",
        "app",
        "plano",
        "process",
        "cli",
    )
    for room in floor.split()
]
"""The rooms and single modules of `plano`, from the ground up; each may import from those before it. The package's own
`__init__` is `plano`."""

PURE = (
    "plano.capabilities",
    "plano.dialects",
    "plano.conversation",
    "plano.losses",
    "plano.codings",
    "plano.frames",
    "plano.translation",
    "plano.streams.rewrite",
)
"""These do no I/O."""

OUTSIDE = {
    "httpx": ("plano.transport",),
    "starlette": ("plano.app", "plano.cli", "plano.generation"),
    "psycopg": ("plano.state",),
    "redis": ("plano.redis_client",),
    "genai_prices": ("plano.observability.price_package",),
    "opentelemetry": ("plano.filters.tracing", "plano.observability.otlp"),
}
"""Libraries that are imported in one place only."""


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def _within(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


@cache
def modules() -> dict[str, Path]:
    found = {}
    for folder in ("plano", "filters", "providers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] in {("plano", "filters"), ("plano", "providers")}:
                continue  # the same files, through the links
            name = ".".join(parts if folder == "plano" else ("plano", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, inside its functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def imported_modules(module: str) -> frozenset[str]:
    """The modules of plano that a module imports: of `from a.b import c`, `a.b.c` if that is one, else `a.b`."""
    found = set()
    for name in imports(module):
        if name.split(".")[0] == "plano":
            while name not in modules():
                name = name.rpartition(".")[0]
            found.add(name)
    return frozenset(found - {module})


@pytest.mark.parametrize("room", dict.fromkeys(map(room_of, modules())))
def test_imports_point_down(room: str) -> None:
    assert room in ROOMS, f"{room} stands nowhere in the list of rooms"
    below = set(ROOMS[: ROOMS.index(room) + 1])
    for module in modules():
        if room_of(module) == room:
            above = {name for name in imported_modules(module) if room_of(name) not in below}
            assert not above, f"{module} imports {above}, which stand above it"


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith(PURE)])
def test_pure_modules_do_no_io(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(module)}
    assert not roots & {"asyncio", "socket", "time", "random", "os", "httpx", "uuid", "secrets", "logging"}
    assert not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree_of(module)))


@pytest.mark.parametrize("library", OUTSIDE)
def test_some_libraries_are_imported_in_one_place_only(library: str) -> None:
    places = [name for name in modules() if library in {each.split(".")[0] for each in imports(name)}]
    assert places, f"nothing imports {library}: is the test looking in the right place?"
    assert all(any(_within(place, home) for home in OUTSIDE[library]) for place in places), places


def test_there_are_no_import_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"import cycle: {' -> '.join([*trail, module])}"
        if module not in done:
            for other in sorted(imported_modules(module) - {"plano"}):
                visit(other, (*trail, module))
            done.add(module)

    for module in modules():
        visit(module, ())


@pytest.mark.parametrize(("room", "sibling"), [("server", "transport"), ("transport", "server")])
def test_the_two_ends_of_the_wire_share_nothing_but_what_lies_below(room: str, sibling: str) -> None:
    members = [module for module in modules() if room_of(module) == room]
    assert members, f"there is no {room}: is the test looking in the right place?"
    for module in members:
        assert sibling not in map(room_of, imported_modules(module)), f"{module} imports from {sibling}"


def test_filters_and_providers_do_not_import_each_other() -> None:
    for module in modules():
        if module.startswith("plano.filters."):
            own = ".".join(module.split(".")[:3])  # a filter may be a package
            others = {
                name
                for name in imported_modules(module)
                if name.startswith(("plano.filters.", "plano.providers")) and not _within(name, own)
            }
            assert not others, f"{module} imports {others}"
