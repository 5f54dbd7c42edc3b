"""Resolves the model's name in a request to its target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from plano.errors import ModelNotFound
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.routing.models import ModelIndex, is_bare


class Alias:
    """Resolves aliases, `provider/model` names, bare names, wildcards and the default model.

    Args:
        models: the index of all names.
        refresh: asks providers for the lists of their models, which the index takes in. It is called for a bare name
            that the index does not have.

    Raises:
        ModelNotFound: 404 in the client's dialect, for a name that no model has or that this caller may not use.
    """

    def __init__(self, models: ModelIndex, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        self._models = models
        self._refresh = refresh

    def __call__(self, request: Request, call_next: CallNext) -> Awaitable[Response]:
        try:
            onward = _to_target(request, self._models)
        except ModelNotFound:
            if self._refresh is None or not is_bare(request.model):
                raise
            return self._refreshed(request, call_next, self._refresh)
        return call_next(onward)

    async def _refreshed(
        self, request: Request, call_next: CallNext, refresh: Callable[[], Awaitable[None]]
    ) -> Response:
        await refresh()
        return await call_next(_to_target(request, self._models))


def _to_target(request: Request, models: ModelIndex) -> Request:
    """The request with its target.

    Raises:
        ModelNotFound: no model has that name, or this caller may not use it. The two take the same way, so that the
            time does not tell which it was.
    """
    target, caller = models.resolve(request.model), request.caller
    if caller.models is not None and not (caller.may_use(request.model or "") or caller.may_use(target.name)):
        raise ModelNotFound(request.model or "")
    request.journal.resolved = target
    return replace(request, target=target, candidates=models.candidates(request.model, target))
