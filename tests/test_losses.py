"""The names under which losses are counted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import plano
from plano.losses import LOSS_FIELDS

CODECS = Path(plano.__file__).parent / "dialects"


def names_dropped(tree: ast.AST) -> Iterator[str]:
    """The names that are written out where something is dropped; the others are fields of a client's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "drop":
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield first.value


def test_every_name_that_a_codec_writes_out_is_counted_under_itself() -> None:
    dropped = {name for file in CODECS.rglob("*.py") for name in names_dropped(ast.parse(file.read_text()))}
    assert len(dropped) > 20
    assert dropped - LOSS_FIELDS == set()


def test_no_codec_makes_up_a_name_from_what_a_client_chose() -> None:
    made = {
        ast.unparse(node.args[0])
        for file in CODECS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "drop"
        and isinstance(node.args[0], ast.JoinedStr)
    }
    assert made <= {
        "f'messages.{type(part).__name__.lower()}'",
        "f'reply.{type(part).__name__.lower()}'",
        "f'{prefix}cache_control'",
    }
