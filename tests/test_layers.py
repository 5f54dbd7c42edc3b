"""Imports point down. The rings, from the ground up; a module may import from its own ring and those below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

RINGS = [
    [
        "plano.version",
        "plano.types",
        "plano.errors",
        "plano.losses",
        "plano.loops",
        "plano.masking",
        "plano.rounds",
        "plano.outbox",
        "plano.direct",
        "plano.loopback",
        "plano.series",
        "plano.log_writer",
    ],
    ["plano.conversation", "plano.sse"],
    ["plano.dialects", "plano.provider"],
    ["plano.assembly", "plano.estimate", "plano.translate", "plano.rewrite", "plano.models", "plano.journal"],
    ["plano.instruments", "plano.prices"],
    [
        "plano.request",
        "plano.relay",
        "plano.response",
        "plano.usage",
        "plano.access",
        "plano.logs",
        "plano.listing",
        "plano.state",
    ],
    ["plano.transport", "plano.pipeline", "plano.intake", "plano.finished", "plano.otlp"],
    ["plano.sender", "plano.upstream", "plano.testing"],
    ["plano.filters", "plano.providers"],
    ["plano.config"],
    [
        "plano",
        "plano.exposition",
        "plano.metrics_port",
        "plano.observing",
        "plano.app",
        "plano.cli",
        "plano.connections",
        "plano.endpoints",
        "plano.server",
        "plano.memory",
        "plano.stores",
        "plano.stored",
        "plano.ui",
    ],
]

PURE = ("plano.dialects", "plano.conversation", "plano.sse", "plano.translate", "plano.rewrite", "plano.assembly")
"""These do no I/O."""

OUTSIDE = {
    "httpx": ("plano.transport",),
    "starlette": ("plano.app", "plano.cli"),
    "psycopg": ("plano.state",),
    "opentelemetry": ("plano.filters.tracing", "plano.otlp"),
}
"""Libraries that are imported in one place only."""


def ring_of(module: str) -> int:
    named = [(len(name), ring) for ring, names in enumerate(RINGS) for name in names if _within(module, name)]
    assert named, f"{module} stands in no ring"
    return max(named)[1]


def _within(module: str, name: str) -> bool:
    return module == name or (name != "plano" and module.startswith(name + "."))


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


def imports(path: Path) -> set[str]:
    """What is imported when the module is, and inside its functions; not what only type checkers see."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def resolved(name: str, known: dict[str, Path]) -> str:
    """The module that `from a.b import c` reads: `a.b.c` if that is one, else `a.b`."""
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    known = modules()
    for name in imports(known[module]):
        if name.split(".")[0] != "plano":
            continue
        target = resolved(name, known)
        assert ring_of(target) <= ring_of(module), f"{module} imports {target}, which stands above it"


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith(PURE)])
def test_pure_modules_do_no_io(module: str) -> None:
    path = modules()[module]
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"asyncio", "socket", "time", "random", "os", "httpx", "uuid", "secrets", "logging"}
    assert not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("library", OUTSIDE)
def test_some_libraries_are_imported_in_one_place_only(library: str) -> None:
    places = [name for name, path in modules().items() if library in {i.split(".")[0] for i in imports(path)}]
    assert places, f"nothing imports {library}: is the test looking in the right place?"
    assert all(any(_within(place, home) for home in OUTSIDE[library]) for place in places), places


def test_there_are_no_import_cycles() -> None:
    known = modules()
    graph = {
        module: {resolved(name, known) for name in imports(path) if name.split(".")[0] == "plano"} - {module, "plano"}
        for module, path in known.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"import cycle: {' -> '.join([*trail, module])}"
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_filters_and_providers_do_not_import_each_other() -> None:
    known = modules()
    for module, path in known.items():
        if module.startswith("plano.filters."):
            others = {
                resolved(name, known) for name in imports(path) if name.startswith(("plano.filters", "plano.providers"))
            }
            assert others <= {module}, f"{module} imports {others}"
