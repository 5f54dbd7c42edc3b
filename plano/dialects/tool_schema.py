"""Fits the JSON schemas of tools to APIs that want one plain object on top.

Anthropic and OpenAI refuse a whole request if the schema of one of its tools has `anyOf`, `oneOf` or `allOf` on top, or
no `type`. Their errors say so, and their references do not (anthropics/claude-code#40075,
langchain-ai/langchainjs#9804). The servers of many tools write such schemas. Here the alternatives are folded into the
object around them: it has the properties of all of them, and requires what each of them requires. All else that they
said goes into the description, which the model reads.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.dialects.fields import ABSENT
from plano.losses import Losses

Schema: TypeAlias = dict[str, Any]

ANY_OBJECT = Raw(b'{"type":"object","properties":{}}')

_CHOICES = ("anyOf", "oneOf")
_VALUES = ("enum", "const", "not")
_FOLDED = frozenset({*_CHOICES, *_VALUES, "allOf", "$ref"})
"""The keywords that do not stay on top."""

_DEFINITIONS = ("$defs", "definitions")

_MOST = 200
"""The most schemas that are folded into one. References to references could be any number of them."""

_LONGEST_WORDS = 2000
"""The most characters of a keyword that are said in full; of longer ones the names alone are said."""


class _Top(Struct, rename={"any_of": "anyOf", "one_of": "oneOf", "all_of": "allOf", "ref": "$ref", "not_": "not"}):
    """The keywords that decide whether a schema is a plain object."""

    type: Any = None
    any_of: Raw = ABSENT
    one_of: Raw = ABSENT
    all_of: Raw = ABSENT
    enum: Raw = ABSENT
    const: Raw = ABSENT
    not_: Raw = ABSENT
    ref: Raw = ABSENT

    def is_plain(self) -> bool:
        others = (self.any_of, self.one_of, self.all_of, self.enum, self.const, self.not_, self.ref)
        return self.type == "object" and all(raw is ABSENT for raw in others)


_TOP = msgspec.json.Decoder(_Top)
_ANY = msgspec.json.Decoder(Any)


def reported(schema: Raw, losses: Losses) -> Raw:
    """Like `as_object`, and reports the keywords that went into words."""
    found, in_words = as_object(schema)
    if in_words:
        losses.drop("tools.parameters", f"{', '.join(in_words)} on top was folded into the object, and said in words")
    return found


def as_object(schema: Raw) -> tuple[Raw, list[str]]:
    """The schema as one plain object, and the keywords that went into its description, sorted.

    A schema that cannot be one, because its type is another, stays as it is: the upstream says that better.
    """
    top = reading.maybe(_TOP, schema)
    if top is not None and top.is_plain():
        return schema, []
    found = reading.maybe(_ANY, schema)
    if found is True or found == {}:
        return ANY_OBJECT, []
    if not isinstance(found, dict) or not _may_be_object(found):
        return schema, []
    folding = _Folding(found)
    folded = {**folding.folded(found), "type": "object"}
    if folding.in_words:
        folded["description"] = _described(folded.get("description"), folding.in_words)
    try:
        return Raw(msgspec.json.encode(folded)), sorted(folding.in_words)
    except RecursionError:  # it was nested as deeply as can be read, and is now nested deeper
        return schema, []


def _may_be_object(schema: Schema) -> bool:
    """Whether an object may fit the schema, as far as its type says."""
    kind = schema.get("type")
    return kind in (None, "object") or (isinstance(kind, list) and "object" in kind)


class _Folding:
    """Folds one schema. `in_words` has the keywords that could not be kept, with their values."""

    def __init__(self, root: Schema) -> None:
        self.in_words: Schema = {}
        self._root = root
        self._left = _MOST
        self._followed: set[str] = set()  # the references on the way to the schema that is being folded

    def folded(self, schema: Schema, *, within: bool = False) -> Schema:
        """The schema without the keywords that do not stay on top; `within`: it is one alternative of several."""
        self._left -= 1
        if self._left < 0:
            return {}
        found = {keyword: value for keyword, value in schema.items() if keyword not in _FOLDED}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in self._followed:
            self._followed.add(reference)
            found = _both(self.folded(_referred(reference, self._root), within=within), found)
            self._followed.remove(reference)
        for part in _objects(schema.get("allOf")):
            more = self.folded(part, within=within)
            more.pop("additionalProperties", None)  # it would forbid the properties of the others
            found = _both(more, found)
        for keyword in _CHOICES:
            choices = [self.folded(part, within=True) for part in _objects(schema.get(keyword))]
            found = _loosened(_either(choices), found) if choices else found
            if keyword in schema and len(choices) != 1 and not within:
                self.in_words.setdefault(keyword, schema[keyword])
        if not within:
            self.in_words |= {keyword: schema[keyword] for keyword in _VALUES if keyword in schema}
        return found


def _objects(parts: Any) -> list[Schema]:
    """Those of several schemas that an object may fit."""
    found = parts if isinstance(parts, list) else []
    return [part for part in found if isinstance(part, dict) and _may_be_object(part)]


def _referred(reference: str, root: Schema) -> Schema:
    """The schema that a JSON pointer in `$ref` names; empty if there is none."""
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _both(one: Schema, other: Schema) -> Schema:
    """A schema for objects that fit both. Where both have a keyword, that of `other` counts."""
    ours, theirs = _properties(one), _properties(other)
    shared = {
        name: {"allOf": [ours[name], theirs[name]]} for name in ours if name in theirs and ours[name] != theirs[name]
    }
    return _joined(one, other, {**ours, **theirs, **shared})


def _loosened(choices: Schema, own: Schema) -> Schema:
    """The object's own schema with what its alternatives add; a property that it has itself stays as it is."""
    return _joined(choices, own, {**_properties(choices), **_properties(own)})


def _joined(one: Schema, other: Schema, properties: Schema) -> Schema:
    found = {**one, **other}
    required = dict.fromkeys([*_required(one), *_required(other)])
    definitions = {name: {**one[name], **other[name]} for name in _DEFINITIONS if _has_both(one, other, name)}
    return found | definitions | _unless_empty(properties=properties, required=[*required])


def _has_both(one: Schema, other: Schema, name: str) -> bool:
    return isinstance(one.get(name), dict) and isinstance(other.get(name), dict)


def _either(choices: list[Schema]) -> Schema:
    """A schema that accepts everything that one of the choices accepts."""
    kinds: dict[str, list[Any]] = {}
    for choice in choices:
        for name, value in _properties(choice).items():
            known = kinds.setdefault(name, [])
            if value not in known:
                known.append(value)
    properties = {name: found[0] if len(found) == 1 else {"anyOf": found} for name, found in kinds.items()}
    required = [name for name in _required(choices[0]) if all(name in _required(each) for each in choices)]
    definitions: Schema = {}
    for choice in choices:
        definitions = _joined(definitions, {name: choice[name] for name in _DEFINITIONS if name in choice}, {})
    return definitions | _unless_empty(properties=properties, required=required)


def _unless_empty(**fields: Any) -> Schema:
    return {name: value for name, value in fields.items() if value}


def _properties(schema: Schema) -> Schema:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(schema: Schema) -> list[str]:
    found = schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _described(description: Any, in_words: Schema) -> str:
    """The description with the keywords that could not be kept."""
    said = ", ".join(f"{keyword}: {_words(value)}" for keyword, value in in_words.items())
    return (f"{description}\n\n" if isinstance(description, str) else "") + f"({said})"


def _words(value: Any) -> str:
    """A keyword's value as the description says it."""
    said = msgspec.json.encode(value).decode()
    if len(said) > _LONGEST_WORDS and isinstance(value, list):
        objects = [each for each in value if isinstance(each, dict)]
        names = [{"properties": [*_properties(each)], "required": _required(each)} for each in objects]
        said = msgspec.json.encode(names).decode()
    return said[:_LONGEST_WORDS]
