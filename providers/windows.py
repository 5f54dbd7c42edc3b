"""The context windows of models, from the dated file `windows.json`.

An id there stands for itself and for itself with a date (`Provider.window`). A model that is missing counts as one of
which nothing is known, so a new model needs no row before it can be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct


class Windows(Struct, frozen=True):
    """The content of the file.

    Attributes:
        dated: the day on which the numbers were looked up.
        sources: the documents that they are from.
        windows: by provider and pattern of ids, the most tokens of a request and its reply together.
    """

    dated: date
    sources: tuple[str, ...]
    windows: Mapping[str, Mapping[str, int]]


WINDOWS = msgspec.json.decode(Path(__file__).with_name("windows.json").read_bytes(), type=Windows).windows
