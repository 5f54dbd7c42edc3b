"""A provider is a row of data; a target is the result of resolving a request's model name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from plano.capabilities import Fields, Takes, takes_of
from plano.credentials.headers import AuthStyle
from plano.credentials.signer import Signer
from plano.dialects import CODECS
from plano.losses import Losses
from plano.operations import CREATE, OPERATIONS, Endpoint, EndpointPath
from plano.types import Dialect, Secret, UpstreamDialect

Endpoints: TypeAlias = Mapping[tuple[UpstreamDialect, str], Endpoint]
"""A target's endpoints, by dialect and operation."""

Prepare: TypeAlias = Callable[[UpstreamDialect, str, Fields, Losses], None]
"""A function for a provider's quirks, which changes the fields of an outgoing body in place. Arguments: the dialect of
the body, the upstream's model id, the fields, and the losses to which removed fields are reported."""


_VERSION = re.compile(r"/v\d+[a-z0-9]*$")
"""The end of a path that names a version: `/v1`, `/v4`, `/v1beta`."""


class ModelList(Struct, frozen=True, kw_only=True):
    """A provider's list of its models.

    Attributes:
        path: the path after the prefix of its preferred dialect.
        query: the parameters that make its pages long, or "".
        strip: the text in front of each listed id that is not part of the id that requests use.
    """

    path: str = "/models"
    query: str = ""
    strip: str = ""


class Provider(Struct, frozen=True, kw_only=True):
    """Everything that sets one provider apart from the next.

    Attributes:
        name: the prefix of its models (`openai` in `openai/gpt-4o`).
        base_url: scheme and host (`https://api.groq.com`), or None if an entry must say it.
        prefix: the path in front of every endpoint (`/openai/v1`), where the base URL has no path of its own.
        prefixes: the prefixes of dialects that stand elsewhere on the same host (`messages` under `/anthropic/v1`).
        paths: for each dialect it speaks, the path after the prefix, or an `EndpointPath` that says more. The first
            dialect serves clients of a dialect that the provider does not speak. `{model}` in a path is the upstream's
            model id, URL-encoded.
        operations: the paths of the operations other than `create`, by dialect and operation.
        speaks: the dialects used unless an entry asks for others with `apis`, or a row of `takes` says which serve a
            model; () means all of `paths`. It leaves out those that a provider offers only in part, or only in its
            newest versions.
        adapt: gives the row that fits an entry's own base URL, for a provider with more than one kind of API.
        auth: the way in which the key travels; None for the way of each dialect. Without a key nothing is sent.
        signer: makes the signer of a target's requests, if its key does not travel itself; `auth` then has no effect.
        key_variables: the environment variables that usually hold the key; the first one that is set counts.
        lists: the endpoint that lists its models; None if it has none that names what requests may ask for.
        headers: sent with every request, where neither the client nor the entry says otherwise.
        query: appended to every URL (`api-version=...`) that does not have it already, or "".
        takes: the capabilities of its API, by the prefix of its models' ids; "" is the row for all of them.
        windows: the most tokens of a request and its reply together, by patterns of its models' ids; see `window`.
        prepare: changes a request body in ways that no row can express, or None.
        triggers: gives the words (fields, or values), by dialect and model, of which at least one stands in every body
            that `prepare` changes; None if it has to look at every body. A word that is written with escapes is not
            found: the body then goes out unchanged, and the provider judges it.
    """

    name: str
    base_url: str | None = None
    prefix: str = "/v1"
    prefixes: Mapping[UpstreamDialect, str] = {}
    paths: Mapping[UpstreamDialect, str | EndpointPath]
    operations: Mapping[tuple[UpstreamDialect, str], str | EndpointPath] = {}
    speaks: tuple[UpstreamDialect, ...] = ()
    adapt: Callable[[SplitResult], Provider] | None = None
    auth: AuthStyle | None = None
    signer: Callable[[Target], Signer] | None = None
    key_variables: tuple[str, ...] = ()
    lists: ModelList | None = ModelList()
    headers: Mapping[str, str] = {}
    query: str = ""
    takes: Mapping[str, Takes] = {}
    windows: Mapping[str, int] = {}
    prepare: Prepare | None = None
    triggers: Callable[[UpstreamDialect, str], tuple[str, ...]] | None = None

    def dialects(self, model: str) -> tuple[UpstreamDialect, ...]:
        """The dialects of `model`, the preferred one first; an entry may name others."""
        apis = takes_of(self.takes, model, next(iter(self.paths))).apis
        return tuple(each for each in apis if each in self.paths) if apis else self.speaks or tuple(self.paths)

    def auth_for(self, dialect: UpstreamDialect) -> AuthStyle:
        """The way in which the key travels to this dialect's endpoints."""
        return self.auth or CODECS[dialect].conventions.auth

    def headers_for(self, dialect: UpstreamDialect) -> tuple[tuple[str, str], ...]:
        """The headers that go with every request in this dialect, names in lower case. They are defaults: the entry's
        own headers, and those of the client that may go on, win over them."""
        own = tuple((name.lower(), value) for name, value in self.headers.items())
        return (*CODECS[dialect].conventions.headers, *own)

    def most_tokens(self, model: str) -> int | None:
        """The most output tokens `model` can give, or None if that is not known."""
        return takes_of(self.takes, model, self.dialects(model)[0]).max_tokens

    def window(self, model: str) -> int | None:
        """The most tokens of a request to `model` and its reply together, or None if that is not known.

        A pattern in `windows` stands for an id, with `*` and `[…]` as in file names, and for the same id with a date
        after it. It is no prefix, because the next model of a family may take more. The longest pattern counts.
        """
        found = [name for name in self.windows if fnmatchcase(model, name) or fnmatchcase(model, f"{name}-20[0-9]*")]
        return self.windows[max(found, key=len)] if found else None

    def takes_for(self, dialect: UpstreamDialect, model: str) -> Takes | None:
        """The row of a model in a dialect; None if it states nothing."""
        takes = takes_of(self.takes, model, dialect)
        return None if takes == Takes() else takes

    def preparation(self, dialect: UpstreamDialect, model: str) -> tuple[Prepare | None, tuple[str, ...] | None]:
        """The function that changes a model's bodies, from its rows and `prepare`, and the words of which at least one
        stands in every body that it changes; None in their place if it has to look at every body."""
        takes, its = takes_of(self.takes, model, dialect), self.prepare
        words = takes.words()
        triggers = () if its is None else None if self.triggers is None else self.triggers(dialect, model)
        if triggers == ():
            its = None
        if not words:
            return its, triggers

        def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
            takes.fit(model, fields, losses)
            if its is not None:
                its(dialect, model, fields, losses)

        return prepare, None if triggers is None else (*words, *triggers)


def endpoints(provider: Provider, dialects: Iterable[UpstreamDialect], base_url: str | None = None) -> Endpoints:
    """The endpoints for these dialects, with `{model}` left in where a path names the model.

    `base_url` is an entry's own. Its path, where it has one, takes the place of the provider's prefix, and
    its query is kept: `http://vllm:8000`, `http://vllm:8000/v1` and `https://llm.acme/api/v2?team=a` all
    reach the right endpoint. Messages stand under a version in any case: vendors document the base without it
    (`https://api.deepseek.com/anthropic`), because Anthropic's SDKs append `/v1/messages`.
    """
    found = {
        (dialect, CREATE): _endpoint(
            _site(provider, dialect, base_url), provider.query, provider.paths.get(dialect) or _standard(dialect)
        )
        for dialect in dialects
    }
    spoken = {dialect for dialect, _ in found}
    for (dialect, operation), path in provider.operations.items():
        if dialect in spoken or not OPERATIONS[operation].converses:
            found[dialect, operation] = _endpoint(_site(provider, dialect, base_url), provider.query, path)
    return found


def list_url(provider: Provider, dialect: UpstreamDialect, base_url: str | None = None) -> str | None:
    """The URL of the provider's list of models, beside its endpoint for `dialect`; None if it has no list."""
    lists = provider.lists
    if lists is None:
        return None
    return _url(_site(provider, dialect, base_url), _joined(lists.query, provider.query), lists.path)


def _site(provider: Provider, dialect: UpstreamDialect, base_url: str | None) -> SplitResult:
    """The URL in front of a dialect's paths."""
    base = base_url or provider.base_url
    assert base is not None, f"an entry for {provider.name} needs a base_url; the configuration checks for it"
    split = urlsplit(base)
    path = split.path.rstrip("/") or provider.prefixes.get(dialect, provider.prefix)
    if CODECS[dialect].conventions.versioned and not _VERSION.search(path):
        path += "/v1"
    return split._replace(path=path, fragment="")


def _standard(dialect: UpstreamDialect) -> EndpointPath:
    return CODECS[dialect].conventions.endpoint


def _endpoint(site: SplitResult, query: str, row: str | EndpointPath) -> Endpoint:
    if isinstance(row, str):
        row = EndpointPath(path=row)
    url = _url(site, query, row.path)
    streamed = url if row.streamed is None else _url(site, query, row.streamed)
    return Endpoint(url, streamed, omits=row.omits, frames=row.frames)


def _url(site: SplitResult, query: str, path: str) -> str:
    path, _, own = path.partition("?")
    return site._replace(path=site.path + path, query=_joined(_joined(site.query, own), query)).geturl()


def with_model(found: Endpoints, model: str) -> Endpoints:
    """The same endpoints with the model's id in the paths that name it; the same object if none does."""
    if not any("{model}" in url for each in found.values() for url in (each.url, each.streamed)):
        return found
    encoded = quote(model, safe="")
    return {
        key: replace(each, url=each.url.replace("{model}", encoded), streamed=each.streamed.replace("{model}", encoded))
        for key, each in found.items()
    }


def _joined(own: str, default: str) -> str:
    """An entry's query, with the provider's parameters added that it does not set itself."""
    said = {name for name, _ in parse_qsl(own, keep_blank_values=True)}
    rest = [pair for pair in default.split("&") if pair and pair.partition("=")[0] not in said]
    return "&".join(([own] if own else []) + rest)


class Target(Struct, frozen=True, kw_only=True):
    """The destination of a request: an entry of the configuration with its model filled in.

    Attributes:
        provider: the provider's row.
        model: the upstream's own model id.
        name: its name in logs and metrics, `provider/model`.
        entry: the configured entry's name (for a wildcard its `model`, `openai/*`), one of a bounded set.
        dialects: the dialects that this entry speaks, the preferred one first.
        endpoints: its endpoints, by dialect and operation.
        key: the entry's credential, or None.
        passthrough_auth: whether the caller's credential is forwarded in its place.
        headers: the entry's own extra headers, after the provider's; names in lower case.
        host_header: the value of the Host header, if it is not the URL's host.
        max_tokens: the most output tokens of this model, None if not known.
        takes: the capabilities of this model, by dialect, as far as its provider's rows state any.
        proxy: URL of an HTTP proxy for this entry, or None.
        http2: whether requests go to it over HTTP/2.
        assumed: the dialects that its server may lack, because it is not the provider's own and the entry does not say
            what it speaks.
        place: names the entry together with its key and its host, where a pool of keys or targets has several; else
            the entry alone.
        key_no: the number of its key in the entry's pool, from 0.
        pool: all keys of the entry's pool; () where the entry has one key or none. No answer may show any of them.
        context_window: the most tokens of a request and its reply, None if not known.
        max_in_flight: the most requests that one worker has open at it; None for any number.
        timeout: seconds to wait for the first byte and between two pieces; None for the listener's.
        first_output: seconds in which a stream must bring its first output; None for the configuration's.
        defaults: top-level fields that a body gets where it does not have them, as JSON.
        overrides: top-level fields that a body gets in any case, as JSON.
    """

    provider: Provider
    model: str
    name: str
    entry: str
    dialects: tuple[UpstreamDialect, ...]
    endpoints: Endpoints
    key: Secret | None = None
    passthrough_auth: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    host_header: str | None = None
    max_tokens: int | None = None
    takes: Mapping[UpstreamDialect, Takes] = {}
    proxy: str | None = None
    http2: bool = False
    assumed: tuple[UpstreamDialect, ...] = ()
    place: str = ""
    key_no: int = 0
    pool: tuple[Secret, ...] = ()
    context_window: int | None = None
    max_in_flight: int | None = None
    timeout: float | None = None
    first_output: float | None = None
    defaults: tuple[tuple[str, bytes], ...] = ()
    overrides: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self) -> None:
        if not self.place:
            force_setattr(self, "place", self.entry)

    def __repr__(self) -> str:
        # A repr ends up in logs and tracebacks; headers and a proxy's URL may hold credentials.
        return f"Target({self.name!r}, entry={self.entry!r})"

    @property
    def server(self) -> str:
        """Names the entry together with its host; all of its keys have the same one."""
        return self.place.removesuffix(f"#{self.key_no}") if self.pool else self.place

    def dialect_for(self, client: Dialect) -> UpstreamDialect:
        """The client's own dialect where this entry speaks it, else the entry's first."""
        return client if client in self.dialects else self.dialects[0]
