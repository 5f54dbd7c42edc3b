"""Valid JSON made wrong in small ways: what the fuzz tests feed to the gateway, from both of its sides."""

from __future__ import annotations

import copy
import json
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st


class Deep:
    """Stands for a value nested `levels` deep, which `json.dumps` would be too shallow to write."""

    def __init__(self, levels: int, opening: str = "[", closing: str = "]") -> None:
        self.written = opening * levels + closing * levels

    def __deepcopy__(self, memo: Any) -> Deep:
        return self

    def __repr__(self) -> str:
        return f"Deep({self.written[:6]}…)"


def deepest() -> int:
    """How many levels of JSON can be read here. Up to Python 3.11 calls and JSON share one limit of about a thousand;
    later ones have one for each, and that of JSON is some ten times as high."""

    def too_deep(levels: int) -> bool:
        try:
            msgspec.json.decode(Deep(levels).written)
        except RecursionError:
            return True
        return False

    return bisect_left(range(1_000_000), True, key=too_deep) - 1


JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    0.5,
    -0.0,
    1e308,
    2**31,
    2**63,
    2**64,
    10**400,
    "",
    " ",
    "x",
    "null",
    "\x00",
    "\u2028",
    "\ud800",
    "\udc00x",
    "🙂e\u0301\u202e",
    "data:image/png;base64,",
    "data:",
    "data:;base64",
    "file-1",
    "x" * 5000,
    "a\n\ndata: [DONE]\n\n",
    [],
    {},
    [None],
    [[]],
    [{}],
    ["x"],
    [1],
    {"type": "x"},
    {"type": 1},
    {"type": None},
    {"type": "text"},
    {"type": "function"},
    {"type": "custom"},
    {"type": "input_text", "text": None},
    {"": ""},
    {"\ud800": 1},
    {"role": "user"},
    Deep(30),
    Deep(3000),
    Deep(200_000),
    Deep(500, '{"a":', "}"),
]
WORDS = ["text", "function", "custom", "user", "assistant", "system", "tool", "auto", "none", "any", "base64"]

Path = tuple[Any, ...]


class Mutation(NamedTuple):
    """One change. `at` and `other` choose places, whatever their number is."""

    kind: str
    at: int
    other: int
    junk: Any


KINDS = ["replace", "drop", "duplicate", "move", "rename", "add", "double_key"]

mutations = st.lists(
    st.builds(
        Mutation,
        st.sampled_from(KINDS),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
        st.sampled_from([*JUNK, *WORDS]),
    ),
    min_size=1,
    max_size=3,
)


def mutated(whole: Any, changes: list[Mutation]) -> bytes:
    """`whole` as JSON, changed."""
    found = copy.deepcopy(whole)
    for change in changes:
        _apply(found, change)
    return dumps(found)


def dumps(value: Any) -> bytes:
    """JSON with `Deep` values and `Twice` keys in it."""
    deep: dict[str, str] = {}

    def mark(found: Any) -> str:
        name = f"__deep_{len(deep)}__"
        deep[f'"{name}"'] = found.written
        return name

    written = json.dumps(value, default=mark)
    for name, text in deep.items():
        written = written.replace(name, text)
    return written.replace("__twice__", "").encode()


def _apply(whole: Any, change: Mutation) -> None:
    places = list(paths(whole))
    if not places:
        return
    path = places[change.at % len(places)]
    holder, key = _at(whole, path[:-1]), path[-1]
    match change.kind:
        case "replace":
            holder[key] = copy.deepcopy(change.junk)
        case "drop":
            del holder[key]
        case "move":
            holder[key] = copy.deepcopy(_at(whole, places[change.other % len(places)]))
        case "duplicate" if isinstance(holder, list):
            holder.insert(change.other % (len(holder) + 1), copy.deepcopy(holder[key]))
        case "rename" if isinstance(holder, dict):
            names = [place[-1] for place in places if isinstance(place[-1], str)]
            holder[names[change.other % len(names)]] = holder.pop(key)
        case "double_key" if isinstance(holder, dict):
            holder["__twice__" + str(key)] = copy.deepcopy(change.junk)
        case _:
            inner = holder[key]
            if isinstance(inner, list):
                inner.insert(change.other % (len(inner) + 1), copy.deepcopy(change.junk))
            elif isinstance(inner, dict):
                inner["x_unknown"] = copy.deepcopy(change.junk)
            else:
                holder[key] = [inner]


def _at(whole: Any, path: Path) -> Any:
    for step in path:
        whole = whole[step]
    return whole


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in parsed JSON."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from paths(element, (*path, index))
