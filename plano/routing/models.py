"""Resolves names of models to targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from plano.candidates import Candidate, Candidates, Group
from plano.dialects import COMMON
from plano.errors import ConfigError, InvalidRequest, ModelNotFound
from plano.provider import Endpoints, Provider, Target, endpoints, with_model
from plano.routing.settings import AliasEntry, AliasTarget
from plano.types import Secret, UpstreamDialect

WILDCARD = "*"

LONGEST_NAME = 512
"""Characters. All vendors' ids are much shorter. Without a limit, each cached name could take megabytes."""


class Entry(Struct, frozen=True, kw_only=True):
    """One entry of the configuration: a model, or every model, of a provider.

    Attributes:
        provider: the catalogue's row; its name is the prefix of the entry's models.
        model: the upstream's model id, or `*`.
        name: the entry's own unique name. Requests may use it too, for a wildcard as `name/any-model`.
        default: the entry answers requests that name no model.
        base_url: replaces the provider's; see `plano.provider.endpoints`.
        apis: the dialects that this server speaks, preferred first; () for those of the provider's row.
        key: the provider's key; None to send none.
        passthrough_auth: the caller's own credential is sent instead.
        headers: extra headers, with names in lower case.
        host_header: the `Host` that is sent; None for the URL's.
        proxy: the URL of a proxy, or None.
        http2: HTTP/2 is spoken.
        known: for a wildcard, the ids that it is known to cover.
        assumed: the dialects that the server may lack; see `Target.assumed`.
        keys: a pool of keys with their weights, in place of `key`; () for `key` alone.
        context_window, max_in_flight, timeout, first_output, defaults, overrides: see `Target`.
    """

    provider: Provider
    model: str
    name: str
    default: bool = False
    base_url: str | None = None
    apis: tuple[UpstreamDialect, ...] = ()
    key: Secret | None = None
    passthrough_auth: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    host_header: str | None = None
    proxy: str | None = None
    http2: bool = False
    known: tuple[str, ...] = ()
    assumed: tuple[UpstreamDialect, ...] = ()
    keys: tuple[tuple[Secret, float], ...] = ()
    context_window: int | None = None
    max_in_flight: int | None = None
    timeout: float | None = None
    first_output: float | None = None
    defaults: tuple[tuple[str, bytes], ...] = ()
    overrides: tuple[tuple[str, bytes], ...] = ()

    def __repr__(self) -> str:
        # A repr ends up in logs and tracebacks; headers and a proxy's URL may hold credentials.
        return f"Entry({self.name!r})"


class ModelInfo(Struct, frozen=True):
    """A line of `/v1/models`. `owner` is the provider's name; `target` is the `provider/model` that `id` means."""

    id: str
    owner: str
    target: str


class ModelIndex:
    """The target of every name that a request may use.

    A name is looked up in this order: aliases; `provider/model` of the entries; the entries' own names; the prefixes of
    `provider/*` entries, and those entries' names as prefixes; bare ids of the entries; bare ids that wildcards are
    known to cover, from the configuration or learnt since. Within each of these, the entry that is configured first
    wins.

    Args:
        entries: the entries, in the order of the configuration.
        aliases: the targets and fallbacks of each alias; a string is the name of the only target.
        cache: the most targets under wildcards that are kept, because callers make up their names.

    Raises:
        ConfigError: an alias has an unknown target or fallback, or leads back to itself; or two entries are the
            default.
    """

    def __init__(
        self, entries: Sequence[Entry], aliases: Mapping[str, AliasEntry | str] | None = None, *, cache: int = 1024
    ):
        self._routes = [_Route(entry) for entry in entries]
        self._by_entry: dict[str, _Route] = {}
        for route in self._routes:
            self._by_entry.setdefault(route.entry.name, route)
        self._wildcards: dict[str, _Route] = {}
        self._under_wildcards: dict[str, Target] = {}
        self._pools: dict[str, Candidates] = {}
        self._keyed: dict[tuple[str, str, str | None], tuple[Target, ...]] = {}
        self._cache = cache
        self._claims: dict[str, list[str]] = {}
        self._names: dict[str, Target] = {}
        self._learnt: dict[str, tuple[str, ...]] = {}
        self._bare: dict[str, Target] = {}
        self._add_entries()
        self._default = self._find_default()
        self._said = {alias: _entry_of(said) for alias, said in (aliases or {}).items()}
        followed = {alias: Candidates.of(alias, self._follow(alias, ())) for alias in self._said}
        self._aliases = {alias: found.first for alias, found in followed.items()}
        self._candidates = {alias: found for alias, found in followed.items() if _several(found)}
        self._names.update(self._aliases)

    def resolve(self, name: str | None) -> Target:
        """The target that `name` means; without a name, the default entry's.

        Raises:
            ModelNotFound: no model has that name.
            InvalidRequest: there is no name, and no entry is the default; `param` is `model`.
        """
        if not name:
            if self._default is None:
                raise InvalidRequest("You must provide a model parameter.", param="model")
            return self._default
        target = self._names.get(name) or self._bare.get(name)
        return target if target is not None else self._wild(name)

    def candidates(self, name: str | None, target: Target) -> Candidates | None:
        """Everything that may answer for a name, which resolved to `target`; None if that target is all, with one
        key."""
        found = self._candidates.get(name or "")
        return self._pool(name or target.name, target) if found is None and target.pool else found

    def groups(self, name: str) -> tuple[Group, ...]:
        """The targets of a name, and after them the fallbacks that it brings with it. Raises ModelNotFound."""
        found = self._candidates.get(name)
        return (Group((self._candidate(name, self.resolve(name)),)),) if found is None else found.groups

    def targets(self) -> list[Target]:
        """Every target that the configuration names, with each of its keys. That of a wildcard stands for all of its
        models."""
        own = [key for route in self._routes for key in route.keyed(route.target(route.entry.model))]
        named = [
            key
            for found in self._candidates.values()
            for group in found.groups
            for member in group.members
            for key in member.keys
        ]
        return [*own, *named]

    def wildcards(self) -> list[tuple[Entry, Target]]:
        """The wildcard entries, each with the target of an unnamed model of its."""
        return [(route.entry, route.target(WILDCARD)) for route in self._routes if route.wildcard]

    def learn(self, entry: str, models: Sequence[str]) -> None:
        """Takes in the ids that a wildcard entry covers, in place of those learnt before. Its known ids stay."""
        self._learnt[entry] = tuple(model for model in models if model != WILDCARD and _is_name(model))
        self._bare = {}
        for route in self._routes:
            if route.wildcard:
                for model in self._covered(route):
                    if is_bare(model):  # one with a slash would read as another provider's model
                        self._bare.setdefault(model, route.target(model))

    def listing(self) -> list[ModelInfo]:
        """The lines of `/v1/models`, sorted by id: every name that a request may use. A wildcard is named by the models
        that it is known to cover, or as itself if none is known."""
        found = {name: _info(name, target) for name, target in [*self._bare.items(), *self._names.items()]}
        for route in self._routes:
            if route.wildcard:
                owner, models = route.entry.provider.name, self._covered(route) or (WILDCARD,)
                for prefix in route.prefixes():
                    if self._wildcards.get(prefix) is route:
                        for model in models:
                            full = f"{prefix}/{model}"
                            found.setdefault(full, ModelInfo(full, owner, f"{owner}/{model}"))
        return [found[name] for name in sorted(found)]

    def aliases(self) -> Mapping[str, Target]:
        """The final target of each alias."""
        return dict(self._aliases)

    def ambiguous(self) -> dict[str, list[str]]:
        """The names that several entries could answer to, with the names of those entries; the first one answers."""
        return {
            name: claims
            for name, claims in sorted(self._claims.items())
            if len(claims) > 1 and name not in self._aliases
        }

    def _add_entries(self) -> None:
        single = [route for route in self._routes if not route.wildcard]
        wild = [route for route in self._routes if route.wildcard]
        for route in wild:
            self._claims.setdefault(f"{route.entry.provider.name}/{WILDCARD}", []).append(route.entry.name)
            self._wildcards.setdefault(route.entry.provider.name, route)
        for route in wild:
            self._wildcards.setdefault(route.entry.name, route)
        targets = [route.target(route.entry.model) for route in single]
        for target in targets:
            self._claim(target.name, target)
        for target in targets:
            self._names.setdefault(target.entry, target)
        for target in targets:
            # A router's model called `openai/gpt-4o` must not take that name from the entry `openai/*`.
            prefix, slash, _ = target.model.partition("/")
            if not slash or prefix not in self._wildcards:
                self._claim(target.model, target)
        for route in wild:
            for model in route.entry.known:
                if is_bare(model) and f"{route.entry.provider.name}/{model}" not in self._names:
                    self._claim(model, route.target(model))

    def _claim(self, name: str, target: Target) -> None:
        self._claims.setdefault(name, []).append(target.entry)
        self._names.setdefault(name, target)

    def _covered(self, route: _Route) -> tuple[str, ...]:
        """The ids that a wildcard is known to cover."""
        return tuple(dict.fromkeys((*route.entry.known, *self._learnt.get(route.entry.name, ()))))

    def _find_default(self) -> Target | None:
        defaults = [route for route in self._routes if route.entry.default]
        if len(defaults) > 1:
            raise ConfigError(f"more than one entry is the default: {', '.join(r.entry.name for r in defaults)}")
        return defaults[0].target(defaults[0].entry.model) if defaults else None

    def _follow(self, name: str, seen: tuple[str, ...]) -> tuple[Group, ...]:
        """The groups of a name, which is that of an alias or a model."""
        said = self._said.get(name)
        if name in seen:
            raise ConfigError(f"alias `{seen[0]}` leads back to itself: {' -> '.join([*seen, name])}")
        if said is None:
            return (Group((self._candidate(name, self._model(name, seen)),)),)
        seen = (*seen, name)
        groups: tuple[Group, ...]
        if len(said.targets) == 1 and said.targets[0].endpoint is None:
            groups = self._follow(said.targets[0].model, seen)
        else:
            members = tuple(
                self._candidate(each.model, self._model(each.model, seen), weight=each.weight, endpoint=each.endpoint)
                for each in said.targets
            )
            groups = (Group(members, said.algorithm),)
        groups = (_named(name, groups[0]), *groups[1:])
        for fallback in said.fallbacks:
            first, *others = self._follow(fallback.target, seen)
            groups += (replace(first, conditions=fallback.conditions), *others)
        return groups

    def _model(self, name: str, seen: tuple[str, ...]) -> Target:
        try:
            return self.resolve(name)
        except (ModelNotFound, InvalidRequest):
            raise ConfigError(f"alias `{seen[-1]}` points at `{name}`, which is no configured model") from None

    def _candidate(self, name: str, target: Target, *, weight: float = 1.0, endpoint: str | None = None) -> Candidate:
        route = self._by_entry[target.entry]
        weights = tuple(each for _, each in route.entry.keys) or (1.0,)
        if len(weights) < 2 and endpoint is None:
            return Candidate(name, (target,), weights, weight)
        place = target.entry, target.model, endpoint
        keyed = self._keyed.get(place)
        if keyed is None:
            if len(self._keyed) >= self._cache:
                del self._keyed[next(iter(self._keyed))]
            keyed = self._keyed[place] = route.keyed(target, endpoint)
        return Candidate(name, keyed, weights, weight)

    def _pool(self, name: str, target: Target) -> Candidates:
        """The candidates of a target with several keys. They are kept, because what is sent with each key is worked out
        once for each target."""
        found = self._pools.get(name)
        if found is None or (found.first.entry, found.first.model) != (target.entry, target.model):
            if len(self._pools) >= self._cache:
                del self._pools[next(iter(self._pools))]
            found = self._pools[name] = Candidates.of(name, (Group((self._candidate(target.name, target),)),))
        return found

    def _wild(self, name: str) -> Target:
        target = self._under_wildcards.get(name)
        if target is not None:
            return target
        provider, _, model = name.partition("/")
        route = self._wildcards.get(provider)
        if route is None or not model or model == WILDCARD or not _is_name(name):
            raise ModelNotFound(name)
        if len(self._under_wildcards) >= self._cache:
            del self._under_wildcards[next(iter(self._under_wildcards))]
        target = self._under_wildcards[name] = route.target(model)
        return target


class _Route:
    """An entry with everything precomputed that does not depend on the model."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.wildcard = entry.model == WILDCARD
        self._endpoints: dict[tuple[UpstreamDialect, ...], Endpoints] = {}

    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of a wildcard's models: the provider's name, and the entry's own."""
        provider, name = self.entry.provider.name, self.entry.name
        return (provider,) if name == f"{provider}/{WILDCARD}" else (provider, name)

    def target(self, model: str) -> Target:
        """Makes the target of one of the entry's models. It is built each time, so the caller should keep it."""
        entry = self.entry
        dialects = entry.apis or entry.provider.dialects(model)
        pool = tuple(key for key, _ in entry.keys) if len(entry.keys) > 1 else ()
        return Target(
            provider=entry.provider,
            model=model,
            name=f"{entry.provider.name}/{model}",
            entry=entry.name,
            dialects=dialects,
            endpoints=with_model(self._endpoints_for(dialects), model),
            key=entry.keys[0][0] if entry.keys else entry.key,
            passthrough_auth=entry.passthrough_auth,
            headers=entry.headers,
            host_header=entry.host_header,
            max_tokens=entry.provider.most_tokens(model),
            takes={
                dialect: takes
                for dialect in (*dialects, *entry.provider.paths)
                if (takes := entry.provider.takes_for(dialect, model)) is not None
            },
            proxy=entry.proxy,
            http2=entry.http2,
            assumed=tuple(dialect for dialect in entry.assumed if dialect in dialects),
            place=f"{entry.name}#0" if pool else entry.name,
            pool=pool,
            context_window=entry.context_window or entry.provider.window(model),
            max_in_flight=entry.max_in_flight,
            timeout=entry.timeout,
            first_output=entry.first_output,
            defaults=entry.defaults,
            overrides=entry.overrides,
        )

    def keyed(self, target: Target, endpoint: str | None = None) -> tuple[Target, ...]:
        """One of the entry's targets with each of the entry's keys, at another base URL if one is given."""
        server, entry = target.server, self.entry
        if endpoint is not None:
            server = f"{server}@{_site(endpoint)}"
            asked = dict.fromkeys((*target.dialects, COMMON)) if entry.assumed else target.dialects
            found = with_model(endpoints(entry.provider, asked, endpoint), target.model)
            target = replace(target, endpoints=found, place=server)
        if not target.pool:
            return (target,)
        return tuple(
            replace(target, key=key, key_no=number, place=f"{server}#{number}")
            for number, key in enumerate(target.pool)
        )

    def _endpoints_for(self, dialects: tuple[UpstreamDialect, ...]) -> Endpoints:
        found = self._endpoints.get(dialects)
        if found is None:
            asked = dict.fromkeys((*dialects, COMMON)) if self.entry.assumed else dialects
            found = self._endpoints[dialects] = endpoints(self.entry.provider, asked, self.entry.base_url)
        return found


def is_bare(name: str | None) -> bool:
    """Whether a name could be the bare id of a model under a wildcard."""
    return name is not None and "/" not in name and _is_name(name)


def _is_name(text: str) -> bool:
    """Whether a name is one that requests may use. Without this, logs and the cache would hold what callers make up."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def _site(url: str) -> str:
    """A URL without what could be a secret in it, because places stand in logs."""
    split = urlsplit(url)
    return f"{split.netloc.rpartition('@')[2]}{split.path.rstrip('/')}"


def _entry_of(said: AliasEntry | str) -> AliasEntry:
    return AliasEntry(targets=(AliasTarget(model=said),)) if isinstance(said, str) else said


def _several(found: Candidates) -> bool:
    """Whether there is more than one target or key, or a base URL of its own."""
    first = found.groups[0].members[0]
    return len(found.groups) > 1 or len(found.groups[0].members) > 1 or len(first.keys) > 1


def _named(name: str, group: Group) -> Group:
    """The targets of an alias under its name, because a caller who may use an alias may use its targets."""
    return replace(group, members=tuple(replace(member, name=name) for member in group.members))


def _info(name: str, target: Target) -> ModelInfo:
    return ModelInfo(name, target.provider.name, target.name)
