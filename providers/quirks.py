"""Changes to bodies that several providers need, each as a function over the top-level fields.

A quirk changes only fields that the provider refuses, or ignores because it has the same setting under another name.
The conversation itself is read only if it has to be changed.
"""

from __future__ import annotations

from plano.capabilities import Fields, decoded, encoded
from plano.losses import Losses
from plano.types import UpstreamDialect


def strip_effort(
    dialect: UpstreamDialect, fields: Fields, losses: Losses, reason: str, *, thinks: bool = False
) -> None:
    """Drop the effort, for models that refuse it.

    Args:
        thinks: whether the model thinks. If it does not, it does what an effort of `none` asks for, so the loss of
            that one is not reported.
    """
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
