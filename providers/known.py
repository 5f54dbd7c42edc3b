"""The models that are known without asking their providers, from the dated file `models.json`.

A provider's own list (`Provider.lists`) adds to these while the gateway runs. Ids rot within months, so they are data
with a date and not code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct


class Known(Struct, frozen=True):
    """The content of the file.

    Attributes:
        dated: the day on which the ids were looked up.
        models: by provider, the ids that a wildcard entry is known to cover.
        retired: by provider, the ids that stop or have stopped answering, with the first day on which they do not.
    """

    dated: date
    models: Mapping[str, tuple[str, ...]]
    retired: Mapping[str, Mapping[str, date]]


KNOWN = msgspec.json.decode(Path(__file__).with_name("models.json").read_bytes(), type=Known)
