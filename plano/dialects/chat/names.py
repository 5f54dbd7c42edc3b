"""The names of fields in `extras["chat"]` that this dialect's reader and writers agree on."""

from __future__ import annotations

OF_MESSAGE = "message."
"""The prefix of a system message's own fields, in the extras of its texts. A text's fields have no prefix."""
