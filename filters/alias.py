"""Resolves the model's name in a request to its target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from plano.candidates import Candidates
from plano.errors import InvalidRequest, ModelNotFound
from plano.pipeline import CallNext
from plano.provider import Target
from plano.request import Request
from plano.response import Response
from plano.routing.models import ModelIndex, is_bare
from plano.routing.settings import ANY
from plano.types import Caller


class Alias:
    """Resolves aliases, `provider/model` names, bare names, wildcards and the default model.

    Args:
        models: the index of all names.
        refresh: asks providers for the lists of their models, which the index takes in. It is called for a bare name
            that the index does not have.

    Raises:
        ModelNotFound: 404 in the client's dialect, for a name that no model has or that this caller may not use.
        InvalidRequest: 400 for a fallback of the request's own of which the same is true.
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
    candidates = models.candidates(request.model, target)
    if request.fallbacks:
        candidates = _with_fallbacks(request, models, target, candidates)
    if candidates is not None:
        target = candidates.first
        if not caller.may_use(request.model or ""):
            candidates = _permitted(candidates, caller)
    request.journal.resolved = target
    return replace(request, target=target, candidates=candidates)


def _permitted(candidates: Candidates, caller: Caller) -> Candidates:
    """The candidates of a name that this caller may use only in part. The caller may use the first target."""
    primary, *fallbacks = candidates.groups
    members = tuple(member for member in primary.members if caller.may_use(member.target.name))
    return replace(candidates, groups=(replace(primary, members=members), *fallbacks))


def _with_fallbacks(request: Request, models: ModelIndex, target: Target, own: Candidates | None) -> Candidates:
    """The candidates of a request that names fallbacks: first those of its model, then those that it names.

    Raises:
        InvalidRequest: a fallback is unknown, or this caller may not use it.
    """
    name = request.model or target.name
    groups = models.groups(name) if own is None else own.groups
    for each in request.fallbacks:
        try:
            first, *others = models.groups(each)
        except ModelNotFound:
            raise _no_fallback(each) from None
        caller = request.caller
        if not (caller.may_use(each) or caller.may_use(first.members[0].target.name)):
            raise _no_fallback(each)
        groups += (replace(first, conditions=ANY), *others)
    return Candidates.of(name, groups)


def _no_fallback(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The fallback `{name[:200]}` does not exist or you do not have access to it.", param="fallbacks"
    )
