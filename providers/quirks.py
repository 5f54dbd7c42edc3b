"""Changes to bodies that several providers need, each as a function over the top-level fields.

A quirk changes only fields that the provider is known to refuse, or to ignore though it has the same setting under
another name. The whole conversation is only read if it has to be changed.
"""

from __future__ import annotations

from plano.capabilities import Fields, decoded, encoded
from plano.losses import Losses
from plano.types import UpstreamDialect


def strip_effort(
    dialect: UpstreamDialect, fields: Fields, losses: Losses, reason: str, *, thinks: bool = False
) -> None:
    """Take the effort out, for models that refuse it.

    Args:
        thinks: whether the model thinks. If it does not, an effort of `none` is what happens anyway, and not reported.
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
