"""The tree of errors is drawn as it is."""

from __future__ import annotations

import re

from plano import errors


def _drawn() -> dict[str, str]:
    """Each class of the drawing with the one it hangs from; a level is four characters wide."""
    above: list[str] = []
    parents = {}
    for indent, name in re.findall(r"^ {4}([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE):
        del above[len(indent) // 4 :]
        parents[name] = above[-1] if above else "Exception"
        above.append(name)
    return parents


def test_the_tree_is_drawn_as_it_is() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert _drawn() == {each.__name__: each.__base__.__name__ for each in classes}
