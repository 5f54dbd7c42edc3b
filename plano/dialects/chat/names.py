"""Names that this dialect's reader and writers agree on, for what the neutral model keeps in `extras["chat"]`."""

from __future__ import annotations

OF_MESSAGE = "message."
"""Before the name of a system message's own field, in the extras of its texts; a text's fields have no prefix."""
