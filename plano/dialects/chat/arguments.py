"""Collects the arguments of a call, and tells whether they are whole.

Servers that do not number their calls make a reader ask after every piece. To parse all pieces each time would take
time that grows with the square of their number, so each character is looked at once: brackets and strings are counted
off, and the text is parsed when the last bracket is closed.
"""

from __future__ import annotations

import re

from plano.dialects import reading

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


class Arguments:
    """Pieces of a call's arguments.

    Attributes:
        pieces: the pieces in order.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_looked_at", "_whole", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._looked_at = 0  # a number of pieces
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the next character belongs to a backslash in an earlier piece
        self._whole: bool | None = None  # None until the last bracket is closed

    def whole(self) -> bool:
        """Whether they are a whole JSON object, so that no more of them can come."""
        new = "".join(self.pieces[self._looked_at :])
        self._looked_at = len(self.pieces)
        if new.isspace() or not new:
            return self._whole is True
        if self._whole is not None:  # there is more after the last bracket
            self._whole = False
        elif self._closed_by(new):
            self._whole = reading.is_object("".join(self.pieces))
        return self._whole is True

    def _closed_by(self, text: str) -> bool:
        """Whether no bracket and no string is open at the end of one more text."""
        at, end = int(self._escaped), len(text)
        self._escaped = False
        while found := (_INSIDE if self._in_string else _OUTSIDE).search(text, at):
            at = found.end()
            mark = found[0]
            if mark == '"':
                self._in_string = not self._in_string
            elif mark == "\\":
                self._escaped = at == end
                at += 1
            else:
                self._depth += 1 if mark in "{[" else -1
        return self._depth == 0 and not self._in_string
