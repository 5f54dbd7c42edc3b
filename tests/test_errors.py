"""The drawing of the exceptions' tree, at the top of `plano.errors`, and the classes that it shows."""

from __future__ import annotations

import re
from copy import copy
from typing import NamedTuple

from plano import errors
from plano.errors import BudgetSpent, PlanoError

_NODE = re.compile(
    r"^ {4}(?P<branches>(?:│   |    )*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3})\b)?", re.MULTILINE
)

WITHOUT_STATUS = {"PlanoError", "ConfigError", "UpstreamStatus"}
"""The base, an error that no client sees, and one whose status is always the upstream's own."""


class Node(NamedTuple):
    parent: str | None
    status: int | None


def drawn() -> dict[str, Node]:
    path: list[str] = []
    nodes = {}
    for found in _NODE.finditer(errors.__doc__ or ""):
        depth = len(found["branches"]) // 4
        path[depth:] = [found["name"]]
        assert found["name"] not in nodes, f"{found['name']} is drawn twice"
        nodes[found["name"]] = Node(
            path[depth - 1] if depth else None, int(found["status"]) if found["status"] else None
        )
    return nodes


def defined() -> dict[str, type[PlanoError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PlanoError) and value.__module__ == errors.__name__
    }


def test_every_error_is_drawn_and_nothing_else() -> None:
    assert drawn().keys() == defined().keys()


def test_an_error_is_drawn_below_the_class_that_it_inherits_from() -> None:
    real = {name: [base.__name__ for base in error.__bases__] for name, error in defined().items()}
    below = {name: [node.parent] for name, node in drawn().items()}

    assert below == real | {"PlanoError": [None]}


def test_an_error_is_drawn_with_its_status() -> None:
    real = {name: None if name in WITHOUT_STATUS else error.default_status for name, error in defined().items()}

    assert {name: node.status for name, node in drawn().items()} == real


def test_every_error_says_when_it_is_raised() -> None:
    bare = [name for name, error in defined().items() if not vars(error).get("__doc__")]

    assert bare == []


def test_an_error_whose_constructor_needs_more_can_be_copied() -> None:
    spent = BudgetSpent("The budget `lab` is spent.", budget="lab", retry_after=7)
    spent.status = 402

    copied = copy(spent)

    assert (type(copied), str(copied), vars(copied)) == (BudgetSpent, str(spent), vars(spent))
    assert copied is not spent
