"""Environment variables in a configuration's texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\})"
)


def substitute(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Fills in `$VAR`, `${VAR}` and `${VAR:-default}`; returns the text and the names of missing variables.

    A default replaces a variable that is missing or empty, as in a shell; `$$` is a dollar sign.
    """
    missing: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["name"] or match["braced"]
        if match["default"] is not None:
            return environ.get(name) or match["default"]
        if name not in environ:
            missing.append(name)
        return environ.get(name, "")

    return _VARIABLE.sub(value, text), missing
