"""The headers that go up to an upstream, and those that come down from it."""

from __future__ import annotations

from hashlib import sha256

from plano.credentials.headers import credential, credential_of, only_credential_of
from plano.credentials.masking import Mask
from plano.provider import Target
from plano.request import Request
from plano.types import Headers, RawHeaders, Secret, UpstreamDialect

_IDEMPOTENCY = b"idempotency-key"

_FORWARDED = frozenset(
    {b"anthropic-beta", b"anthropic-version", _IDEMPOTENCY, b"openai-beta", b"traceparent", b"tracestate"}
)
"""Request headers that go on to an upstream of the client's own dialect."""

_FORWARDED_ANYWAY = frozenset({_IDEMPOTENCY, b"traceparent", b"tracestate"})
"""Request headers that go on to an upstream of any dialect."""

_WITH_OWN_CREDENTIAL = frozenset({b"openai-organization", b"openai-project", b"chatgpt-account-id", b"originator"})
"""Headers that name an account; they go on only with the caller's own credential."""

_NO_SECRETS = _FORWARDED | _WITH_OWN_CREDENTIAL | {b"user-agent"}

_RETURNED = frozenset(
    {
        b"content-type",
        b"openai-processing-ms",
        b"openai-version",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-request-id",
    }
)

_OF_THE_CALLER = _RETURNED | {b"x-should-retry"}
_LIMITS_OF_THE_CALLER = (b"x-ratelimit-", b"anthropic-ratelimit-")
"""Headers that describe the account whose key was sent, and so go back only to the caller whose key it was. The limits
of the gateway's account are not the caller's, and it is the gateway that repeats requests to it."""

_NOT_AGAIN = (b"x-should-retry", b"false")
"""Goes back to everybody, because what an upstream says not to repeat fails again from any key. OpenAI's and
Anthropic's SDKs obey it."""

NOT_GUESSED = (b"x-content-type-options", b"nosniff")
"""Makes browsers believe the content type (WHATWG Fetch, section "X-Content-Type-Options header")."""

INERT = (NOT_GUESSED, (b"content-security-policy", b"default-src 'none'; sandbox"))
"""Headers for an upstream's error. It may be a web page, and they keep it from acting on the gateway's origin."""


def mask_of(target: Target, headers: Headers) -> Mask:
    """The mask that keeps a target's secrets out of errors: all of the entry's keys, with `passthrough_auth` also the
    key in these headers, and the values of the entry's own headers, except those that any client may send."""
    key = credential_of(headers) if target.passthrough_auth else target.key and target.key.reveal()
    own = [value.rpartition(" ")[2] for name, value in target.headers if name.encode() not in _NO_SECRETS]
    pool = [each.reveal() for each in target.pool]
    return Mask([*own, *pool, key] if key else [*own, *pool])


def own_headers(target: Target, dialect: UpstreamDialect) -> RawHeaders:
    """The headers of every request to a target; a client's own, if they may go on, replace them."""
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "plano"}
    headers |= dict(target.provider.headers_for(dialect))
    if target.key is not None and target.provider.signer is None and not target.passthrough_auth:
        headers |= _credential(target, dialect, target.key)
    headers |= dict(target.headers)
    if target.host_header is not None:
        headers["host"] = target.host_header
    return _encoded(headers)


def _encoded(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _credential(target: Target, dialect: UpstreamDialect, key: Secret) -> dict[str, str]:
    header = credential(target.provider.auth_for(dialect), key)
    return {} if header is None else dict((header,))


def forwarded(request: Request, target: Target, one_tenant: bool) -> RawHeaders:
    """The client's headers that go on to the upstream, by allowlist; its key only with `passthrough_auth`."""
    native = request.journal.dialect == request.dialect
    allowed = _FORWARDED if native else _FORWARDED_ANYWAY
    if target.passthrough_auth:
        allowed |= _WITH_OWN_CREDENTIAL
    elif request.headers.has_none(allowed):
        return []
    headers = [header for header in request.headers.raw if header[0] in allowed]
    if target.passthrough_auth:
        key = only_credential_of(request.headers)
        if key is not None:
            headers += _encoded(_credential(target, request.dialect, Secret(key)))
    elif not one_tenant:
        tenant = request.caller.tenant
        headers = [(name, _of_tenant(tenant, value) if name == _IDEMPOTENCY else value) for name, value in headers]
    return headers


def _of_tenant(tenant: str, value: bytes) -> bytes:
    """A key that depends only on tenant and value, on every machine. Two tenants can never arrive at the same one."""
    return sha256(b"%b\0%b" % (sha256(tenant.encode(errors="surrogatepass")).digest(), value)).hexdigest().encode()


def content_type_of(headers: RawHeaders) -> str:
    for name, value in headers:
        if name == b"content-type":
            return value.decode("latin-1").lower()
    return ""


def readable(content_type: str) -> bool:
    """Whether a body of this type may be a reply. One without a type, or of text/plain, may be."""
    return "html" not in content_type and "xml" not in content_type


def returned(headers: RawHeaders, target: Target, mask: Mask) -> RawHeaders:
    """The headers of a target's answer that go back to the client, by allowlist."""
    if target.passthrough_auth:
        found = [each for each in headers if each[0] in _OF_THE_CALLER or each[0].startswith(_LIMITS_OF_THE_CALLER)]
    else:
        found = [each for each in headers if each[0] in _RETURNED or each == _NOT_AGAIN]
    shortest = mask.shortest
    for _, value in found:
        if len(value) >= shortest:
            return [(name, mask.out_of(value)) for name, value in found]
    return found  # the usual case, because keys are longer


def as_type(headers: RawHeaders, content_type: bytes) -> RawHeaders:
    return [*(header for header in headers if header[0] != b"content-type"), (b"content-type", content_type)]
