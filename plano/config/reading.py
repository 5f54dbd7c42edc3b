"""Reads a document by its schema: returns typed values and adds every deviation to the problems."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from plano.config.document import Children, Node, join, plain_scalar
from plano.config.headers import without_outer_blanks, wrong_key
from plano.config.keys import Key, Kind
from plano.config.problems import Problems, did_you_mean, nearest, one_of
from plano.config.schema import ADVICE, ELSEWHERE
from plano.config.showing import is_harmless, shown
from plano.config.variables import substitute
from plano.types import Secret

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}

_SCALARS = ("text", "secret", "boolean", "integer", "number", "duration", "anything")

_INVALID = object()
"""The value of a node that is wrong; its problem has been added."""


class Section(dict[str, Any]):
    """The values of an object or a map: the valid ones, and the defaults of an object's missing keys.

    Attributes:
        path: its path in the configuration, such as `model_providers[0]`.
        line: its line; None if the configuration did not come from a file.
        lines: the line of each key that is in the file, valid or not.
    """

    def __init__(self, path: str, line: int | None) -> None:
        super().__init__()
        self.path = path
        self.line = line
        self.lines: dict[str, int | None] = {}

    @property
    def given(self) -> set[str]:
        """The keys that are in the file, valid or not."""
        return set(self.lines)

    def line_of(self, key: str) -> int | None:
        """The line of a key, or the section's own if the key is missing."""
        return self.lines.get(key, self.line)

    def path_of(self, key: str) -> str:
        """The path of a key, such as `model_providers[0].name`."""
        return join(self.path, key)


class Reader:
    """Reads nodes by their schema.

    Args:
        problems: receives every deviation.
        environ: the variables for `$VAR`.
    """

    def __init__(self, problems: Problems, environ: Mapping[str, str]) -> None:
        self._problems = problems
        self._environ = environ
        self._label = ""
        self._readers: Mapping[Kind, Callable[[Key, Node, str], Any]] = {
            "text": self._text,
            "secret": self._secret,
            "boolean": self._boolean,
            "integer": self._integer,
            "number": self._number,
            "duration": self._duration,
            "anything": lambda key, node, path: self._plain(node, path),
            "list": self._list,
            "map": self._map,
            "either": self._either,
        }

    def section(self, keys: Mapping[str, Key], node: Node, path: str, *, is_open: bool = False) -> Section:
        """Reads an object's keys and reports those that are unknown, missing, refused or without effect."""
        section = Section(path, node.line)
        children: Children = node.value if isinstance(node.value, dict) else {}
        if not isinstance(node.value, dict):
            self._wrong(node, path, "a mapping")
        section.lines = {name: child.line for name, child in children.items()}
        for name, child in children.items():
            if name in keys:
                for each in child.all_given():
                    self._child(section, name, keys[name], each, section.path_of(name))
            else:
                self._unknown(section, name, keys, child, is_open)
        for name, key in keys.items():
            if name in section.given:
                continue
            if key.required:
                self._problems.error(node.line, section.path_of(name), f"is missing{self._of()}")
            else:
                section[name] = key.default
        return section

    def _child(self, section: Section, name: str, key: Key, node: Node, path: str) -> None:
        if key.effect == "refused":
            self._problems.error(node.line, path, f"`{name}` is not supported yet; take it out")
            return
        if key.never_empty is not None and node.value in (None, []):
            self._problems.error(node.line, path, f"is empty{self._of()}: {key.never_empty}")
            return
        if node.value is None and key.kind != "anything":
            if key.required:
                self._problems.error(node.line, path, f"is empty{self._of()}")
            else:
                section[name] = key.default
            return
        if key.effect == "none":
            self._problems.warn(node.line, path, f"`{name}` is accepted, but has no effect yet")
        value = self._value(key, node, path)
        if value is not _INVALID:
            section[name] = _joined(section.get(name), value)

    def _unknown(self, section: Section, name: str, keys: Mapping[str, Key], node: Node, is_open: bool) -> None:
        path = section.path_of(name)
        meant = next((key for key in ELSEWHERE.get(name, ()) if key in keys), None)
        advice = None if meant else ADVICE.get(name)
        meant = meant if meant or advice else nearest(name, keys)
        hint = f" Did you mean `{meant}`?" if meant else f" {advice}" if advice else ""
        if name.partition(":")[0] in keys:
            hint = " Write a blank after the colon."
        if is_open:
            self._problems.warn(node.line, path, f"is unknown to plano and has no effect.{hint}")
            return
        self._problems.error(node.line, path, f"is not a valid key here.{hint}")
        if meant is not None and meant not in section.given:
            # It is read as the key that is meant, so that what is wrong with the value is said as well, and the key
            # does not count as missing.
            section.lines[meant] = node.line
            if _fits(node, keys[meant]):
                self._child(section, meant, keys[meant], node, path)

    def _value(self, key: Key, node: Node, path: str) -> Any:
        if key.kind == "object":
            return self._object(key, node, path)
        return self._readers[key.kind](key, node, path)

    def _object(self, key: Key, node: Node, path: str) -> Any:
        if not isinstance(node.value, dict):
            return self._wrong(node, path, "a mapping")
        return self.section(key.keys, node, path, is_open=key.open)

    def _list(self, key: Key, node: Node, path: str) -> Any:
        if not isinstance(node.value, list):
            return self._wrong(node, path, "a list")
        assert key.item is not None, "a list has items"
        values = []
        for index, child in enumerate(node.value):
            outer, self._label = self._label, _label(child) or self._label
            values.append(self._value(key.item, child, f"{path}[{index}]"))
            self._label = outer
        return tuple(value for value in values if value is not _INVALID)

    def _map(self, key: Key, node: Node, path: str) -> Any:
        if not isinstance(node.value, dict):
            return self._wrong(node, path, "a mapping")
        assert key.item is not None, "a map has values"
        section = Section(path, node.line)
        for name, child in node.value.items():
            section.lines[name] = child.line
            for each in child.all_given():
                value = self._value(key.item, each, section.path_of(name))
                if value is not _INVALID:
                    section[name] = value
        return section

    def _either(self, key: Key, node: Node, path: str) -> Any:
        branch = key.other if isinstance(node.value, dict) else key.item
        assert branch is not None, "there is something for either"
        return self._value(branch, node, path)

    def _text(self, key: Key, node: Node, path: str) -> Any:
        text = self._filled(node, path, "text")
        if text is not _INVALID and key.choices and text not in key.choices:
            self._problems.error(
                node.line, path, f"must be {one_of(key.choices)}, not {shown(text)}.{did_you_mean(text, key.choices)}"
            )
            return _INVALID
        return text

    def _secret(self, key: Key, node: Node, path: str) -> Any:
        text = self._filled(node, path, "text")
        if text is _INVALID:
            return _INVALID
        if key.in_header:
            text = without_outer_blanks(text)
        wrong = wrong_key(text) if key.in_header else None
        if not text and key.required:
            wrong = "is empty"
        if wrong is not None:
            self._problems.error(node.line, path, f"{wrong}{self._of()}")
            return _INVALID
        return Secret(text) if text else None

    def _boolean(self, key: Key, node: Node, path: str) -> Any:
        value = self._scalar(node, path, "true or false")
        return value if isinstance(value, bool) or value is _INVALID else self._wrong(node, path, "true or false")

    def _integer(self, key: Key, node: Node, path: str) -> Any:
        value = self._scalar(node, path, "a whole number")
        if value is _INVALID:
            return _INVALID
        if not isinstance(value, int) or isinstance(value, bool):
            return self._wrong(node, path, "a whole number")
        return self._bounded(key, node, path, value)

    def _number(self, key: Key, node: Node, path: str) -> Any:
        value = self._scalar(node, path, "a number")
        if value is _INVALID:
            return _INVALID
        if not isinstance(value, int | float) or isinstance(value, bool):
            return self._wrong(node, path, "a number")
        return self._bounded(key, node, path, value)

    def _duration(self, key: Key, node: Node, path: str) -> Any:
        text = self._filled(node, path, "a duration")
        if key.or_off and (node.value is False or text == "false"):
            return None
        match = _DURATION.fullmatch(text) if text is not _INVALID else None
        if text is not _INVALID and (match is None or float(match[1]) in (0, math.inf)):
            more = ", or `false`" if key.or_off else ""
            return self._wrong(node, path, f"a duration such as `30s`, `500ms` or `5m`{more}")
        return _INVALID if match is None else float(match[1]) * _UNITS[match[2]]

    def _bounded(self, key: Key, node: Node, path: str, value: float) -> Any:
        # The comparison is false for `.nan` too and, unlike math.isfinite, takes integers of any length.
        if not abs(value) <= sys.float_info.max:
            return self._wrong(node, path, "a finite number")
        if key.least is not None and value < key.least:
            return self._wrong(node, path, f"at least {key.least:g}")
        if key.most is not None and value > key.most:
            return self._wrong(node, path, f"at most {key.most:g}")
        return value

    def _scalar(self, node: Node, path: str, wanted: str) -> Any:
        """A scalar as YAML reads it. If it has variables, they are filled in before YAML reads it."""
        if not isinstance(node.value, str) or "$" not in node.value:
            return node.value
        text = self._filled(node, path, wanted)
        return text if text is _INVALID else plain_scalar(text)

    def _filled(self, node: Node, path: str, wanted: str) -> Any:
        """A text with its variables filled in. A number or a date is read as the text that was written."""
        if node.text is None:
            return self._wrong(node, path, wanted)
        text, missing = substitute(node.text, self._environ)
        for name in missing:
            self._problems.error(
                node.line, path, f"the environment variable `{name}` is not set{self._of()}; set it, or give a "
                f"default: `${{{name}:-...}}`"
            )  # fmt: skip
        return _INVALID if missing else text

    def _plain(self, node: Node, path: str) -> Any:
        """Any value as Python's own types, with the variables in its texts filled in."""
        if isinstance(node.value, dict):
            return {name: self._plain(child, join(path, name)) for name, child in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(child, f"{path}[{index}]") for index, child in enumerate(node.value)]
        return self._filled(node, path, "text") if isinstance(node.value, str) else node.value

    def _wrong(self, node: Node, path: str, wanted: str) -> Any:
        # A number is shown as it was written, because Python refuses to print a very long one.
        said = node.text if type(node.value) in (int, float) else node.value
        self._problems.error(node.line, path, f"must be {wanted}, not {shown(said)}")
        return _INVALID

    def _of(self) -> str:
        return f" (for `{self._label}`)" if self._label else ""


def _label(node: Node) -> str:
    """The name that an entry gives itself, for messages about it."""
    if isinstance(node.value, dict):
        for name in ("name", "model", "id"):
            child: Node | None = node.value.get(name)
            if child is not None and child.text and is_harmless(child.text):
                return child.text
    return ""


def _joined(before: Any, value: Any) -> Any:
    """The values of a list or a mapping that is given twice: those of both, because names refer to either."""
    if isinstance(before, tuple) and isinstance(value, tuple):
        return before + value
    if isinstance(before, Section) and isinstance(value, Section):
        value.lines = before.lines | value.lines
        value.update({key: before[key] for key in before if key not in value})
    return value


def _fits(node: Node, key: Key) -> bool:
    """Whether a value is a list, a mapping or neither, as the key's values are."""
    if isinstance(node.value, dict):
        return key.kind in ("map", "object", "either", "anything")
    if key.item is not None and key.kind == "either":
        return _fits(node, key.item)
    return key.kind in (("list", "anything") if isinstance(node.value, list) else _SCALARS)
