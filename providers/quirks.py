"""What several providers' bodies need, each as a function over the top-level fields.

A quirk changes only what the provider is known to refuse, or to ignore though it has the same thing by
another name. Nothing here reads the whole conversation unless it has to be changed.
"""

from __future__ import annotations

from plano.capabilities import Fields, decoded, encoded
from plano.losses import Losses
from plano.types import UpstreamDialect


def strip_effort(
    dialect: UpstreamDialect, fields: Fields, losses: Losses, reason: str, *, thinks: bool = False
) -> None:
    """For models that refuse to be told how hard to think. `thinks`: they do think; where they do not, an effort of
    `none` asks for nothing else."""
    if dialect == "chat":
        field, effort = "reasoning_effort", decoded(fields.pop("reasoning_effort", None))
    elif isinstance(reasoning := decoded(fields.get("reasoning")), dict):
        field, effort = "reasoning.effort", reasoning.pop("effort", None)
        fields["reasoning"] = encoded(reasoning)
        if all(value is None for value in reasoning.values()):
            del fields["reasoning"]
    else:
        return
    if effort is not None and (thinks or effort != "none"):
        losses.drop(field, reason)
