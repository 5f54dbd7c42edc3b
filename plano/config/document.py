"""Reads YAML into a tree whose nodes know their lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from msgspec import Struct
from yaml.reader import ReaderError

from plano.config.problems import Problems
from plano.config.showing import shown_key
from plano.config.syntax import Mistake, mistake, unfit


class Node(Struct, frozen=True):
    """A value and its place.

    Attributes:
        value: a dictionary or a list of nodes, or a scalar.
        line: the line of its key, or the one it starts on; None if the configuration did not come from a file.
        text: a scalar as it was written.
        before: the value that the same key was given earlier; that is a mistake, and both values are checked.
    """

    value: Any
    line: int | None = None
    text: str | None = None
    before: Node | None = None

    def all_given(self) -> Iterator[Node]:
        """Every value that the key was given, in the order of the file; nearly always this one alone."""
        if self.before is not None:
            yield from self.before.all_given()
        yield self


Children: TypeAlias = Mapping[str, Node]

_DEEPEST = 100
"""Levels of lists and mappings. The schema has 5; a filter's options may have more."""


def read_text(path: Path, problems: Problems) -> str | None:
    """The text of a file; None if it cannot be read, which is added to the problems."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.error(None, "", "there is no such file")
    except OSError as error:
        problems.error(None, "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.error(None, "", "is not UTF-8 text")
    return None


class _TooDeep(Exception):
    """A document is nested too deeply at `line`, counted from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.SafeLoader):
    """A loader that stops at deep nesting, where PyYAML's own would end in a RecursionError."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST + 1:  # the items of the deepest list are one level more
            raise _TooDeep(self.peek_event().start_mark.line + 1)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse(text: str, problems: Problems) -> Node | None:
    """Reads the document in a text; None if it is not YAML, which is added to the problems."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Node({}, 1) if root is None else _Composer(loader, problems).document(root)
    except yaml.MarkedYAMLError as error:
        _report(mistake(error), problems)
    except ReaderError as error:
        _report(unfit(text, error), problems)
    except _TooDeep as error:
        problems.error(error.line, "", f"is nested too deeply; {_DEEPEST} levels are the most")
    return None


def _report(found: Mistake, problems: Problems) -> None:
    problems.error(found.line, "", found.message, column=found.column)


def plain_scalar(text: str) -> Any:
    """The value that YAML reads from an unquoted word; the text itself if it is no flag, number or date."""
    loader = yaml.SafeLoader("")
    word = text.strip()
    tag = loader.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    try:
        return loader.construct_object(yaml.ScalarNode(tag, word))
    except (yaml.YAMLError, ValueError):  # 2024-99-45 looks like a date; 5000 digits are more than Python reads
        return text


def from_python(value: Any) -> Node:
    """Makes the same tree from Python's own dictionaries, lists and scalars."""
    if isinstance(value, Mapping):
        return Node({str(key): from_python(child) for key, child in value.items()})
    if isinstance(value, list | tuple):
        return Node([from_python(child) for child in value])
    return Node(value, None, None if value is None else str(value))


class _Composer:
    def __init__(self, loader: yaml.SafeLoader, problems: Problems) -> None:
        self._loader = loader
        self._problems = problems
        self._open: set[int] = set()
        self._unreadable = False
        self._own_keys: dict[int, set[int]] = {}

    def document(self, root: yaml.Node) -> Node | None:
        """The whole document; None if it has something that no configuration can have, which is added to the
        problems."""
        node = self.node(root, "")
        return None if self._unreadable else node

    def node(self, node: yaml.Node, path: str) -> Node:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return Node(self._scalar(node, path), line, node.value)
        if id(node) in self._open:
            self._refuse(line, path, "refers to itself")
            return Node(None, line)
        if len(self._open) >= _DEEPEST:  # through anchors, each of which is less deep
            raise _TooDeep(line)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Node(self._mapping(node, path), line)
            assert isinstance(node, yaml.SequenceNode), "YAML has scalars, mappings and sequences"
            return Node([self._item(child, f"{path}[{i}]") for i, child in enumerate(node.value)], line)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        try:
            return self._loader.construct_object(node)
        except ValueError:  # 2024-99-45 looks like a date; 5000 digits are more than Python reads
            self._refuse(
                node.start_mark.line + 1,
                path,
                "has a date or a number that cannot be read; put it in quotes if it is text",
            )
            return None

    def _item(self, node: yaml.Node, path: str) -> Node:
        self._problems.place(path, node.start_mark.line + 1, node.start_mark.column + 1)
        return self.node(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Node]:
        """The pairs of a mapping. A key of its own overrides one from `<<:`; a key that is given twice is a problem."""
        if id(node) not in self._own_keys:  # on a second visit, by an alias, it has the keys of `<<:` too
            self._own_keys[id(node)] = {id(key) for key, _ in node.value}
        own = self._own_keys[id(node)]
        self._loader.flatten_mapping(node)
        children: dict[str, Node] = {}
        given: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(line, path, "has a key that is not a plain word")
                return {}
            said = join(path, key.value)
            self._problems.place(said, line, key.start_mark.column + 1)
            before = children[key.value] if key.value in given else None
            if id(key) in own:
                if before is not None:
                    self._problems.error(line, said, f"is given twice; the first is on line {given[key.value]}")
                given.setdefault(key.value, line)
            child = self.node(value, said)
            # Report multi-line values at their key's line.
            children[key.value] = Node(child.value, line, child.text, before)
        return children

    def _refuse(self, line: int, path: str, message: str) -> None:
        self._problems.error(line, path, message)
        self._unreadable = True


def join(path: str, key: str) -> str:
    """Joins a path and a key: `model_providers[0]` and `name` make `model_providers[0].name`."""
    return f"{path}.{shown_key(key)}" if path else shown_key(key)
