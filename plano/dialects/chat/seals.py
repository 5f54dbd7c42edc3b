"""Puts the mark of a server in front of the seals in its replies; see `plano.dialects.signatures`.

Arguments of calls are strings in this dialect, so that a field of theirs cannot be taken for a seal.
"""

from __future__ import annotations

import re

_BEFORE_SEAL = re.compile(
    rb'"(?:thought_)?signature"\s*:\s*"(?!")|"type"\s*:\s*"reasoning\.encrypted"\s*,\s*"data"\s*:\s*"(?!")'
)


def mark_seals(piece: bytes, mark: bytes) -> bytes:
    """See `plano.dialects.codec.ClientCodec`."""
    return _BEFORE_SEAL.sub(lambda found: found[0] + mark, piece)
