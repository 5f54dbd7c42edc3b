"""Resolves the model's name in a request to its target."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec.structs import replace

from plano.errors import ModelNotFound
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.routing.models import ModelIndex


class Alias:
    """Resolves aliases, `provider/model` names, bare names, wildcards and the default model.

    Raises:
        ModelNotFound: 404 in the client's dialect, for a name that no model has or that this caller may not use.
    """

    def __init__(self, models: ModelIndex) -> None:
        self._models = models

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        target = self._models.resolve(request.model)
        caller = request.caller
        if caller.models is not None and not (caller.may_use(request.model or "") or caller.may_use(target.name)):
            raise ModelNotFound(request.model or "")
        request.journal.resolved = target
        return call_next(replace(request, target=target))
