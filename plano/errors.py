"""The exceptions that plano raises, split by who is to blame.

    PlanoError
    ├── ConfigError                         at start-up only; lists every problem it found
    ├── CallerError                    400  the caller is to blame
    │   ├── InvalidRequest             400  malformed JSON, wrong types, bad parameters
    │   │   └── UnsupportedConversion  400  the target's API cannot say what was asked
    │   ├── Unauthenticated            401  missing or unknown key
    │   ├── PermissionDenied           403  this caller may not do it
    │   ├── NotFound                   404  unknown path or stored id
    │   │   └── ModelNotFound          404  unknown model, or one this caller may not use
    │   ├── MethodNotAllowed           405  wrong HTTP method; 426 for an attempt at a WebSocket
    │   ├── BodyTimeout                408  the body did not arrive in time
    │   ├── TooLarge                   413  body, stored item or chain over its limit
    │   ├── RateLimited                429  too many requests
    │   └── BudgetSpent                429  nothing is left of a budget; 402 in messages
    ├── UpstreamError                  502  the upstream, or the network, is to blame
    │   ├── UpstreamStatus                  the upstream's own error, with its own status
    │   ├── UpstreamRefusedKey         502  the upstream refused the gateway's key
    │   ├── UpstreamUnavailable        502  no connection, or it broke
    │   ├── UpstreamTimeout            504  connect, first byte, or idle between chunks
    │   └── UpstreamProtocolError      502  a reply of another form than was asked for
    ├── GatewayBusy                    503  too many requests at once; 529 in messages
    ├── GatewayExhausted               503  no descriptors, memory or ports left for a connection to an upstream
    ├── GatewayStopping                503  the gateway stops, and cannot wait any longer for the request
    ├── StoreUnavailable               503  stored state was needed and could not be reached
    │   └── StateUnreadable            503  the stored state is there, and damaged
    ├── GatewayFailed                  500  plano itself, or the application around it, has a bug
    └── FilterError                    500  a filter has a bug; names the filter

The number is the HTTP status, unless an error is raised with another one or a dialect has its own.
`tests/test_errors.py` holds this drawing against the classes.

Each error carries the facts that a client needs; `plano.dialects` renders them in the client's dialect, as a body or
as the last event of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

Kind: TypeAlias = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "too_large",
    "rate_limit",
    "billing",
    "timeout",
    "overloaded",
    "upstream",
    "server",
]
"""The subject of an error, independent of the dialect; each dialect has one word for each."""


UpstreamFailure: TypeAlias = Literal[
    "connect",
    "timeout",
    "server",
    "overloaded",
    "rate_limit",
    "quota",
    "credential",
    "no_model",
    "context_window",
    "content_filter",
    "protocol",
    "invalid",
    "broken_stream",
]
"""The classes of an upstream's failures. `server` is a 5xx, `no_model` a 404 for a configured model, `protocol`
something that is no reply, `invalid` a 4xx of its own that no other word covers, `broken_stream` anything that ends a
reply which had begun. The table in `plano.routing.policy` says what may be tried after each."""

UPSTREAM_FAILURES: tuple[UpstreamFailure, ...] = get_args(UpstreamFailure)


class PlanoError(Exception):
    """The base of all errors that plano raises.

    Attributes:
        status: HTTP status, 400 to 599.
        kind: see `Kind`.
        message: one sentence for the client; never holds a key.
        code: the machine-readable reason, as OpenAI's `error.code`, or None.
        param: path of the offending field, as OpenAI's `error.param`, or None.
        retry_after: seconds until the client may try again, or None.
        headers: the response's headers that belong to the error.
    """

    default_status: ClassVar[int] = 500
    default_kind: ClassVar[Kind] = "server"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: Kind | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status if status is not None else self.default_status
        self.kind: Kind = kind if kind is not None else self.default_kind
        self.code = code if code is not None else self.default_code
        self.param = param
        self.retry_after = retry_after
        self.headers = headers

    def __copy__(self) -> Self:
        """The same error without its traceback."""
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        return made


def forget_frames(error: BaseException) -> None:
    """Take the tracebacks off an error and off all errors that it came from.

    Call it for an error that is kept. The frames of a traceback hold the objects they worked on, such as a request's
    body, and often the error itself, so that both would stay in memory until the cycle collector runs.
    """
    seen: set[int] = set()
    open_: list[BaseException | None] = [error]
    while open_:
        each = open_.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        open_ += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            open_ += each.exceptions


class ConfigError(PlanoError):
    """The configuration cannot work; raised at start-up only. `problems` holds a text for each fault found.

    Attributes:
        found: the same faults as they were raised: `plano.config.Problem`s, which know their places, or texts.
        warnings: what else was found, in the same form.
    """

    def __init__(self, problems: Sequence[object] | str, *, warnings: Sequence[object] = ()) -> None:
        self.found: list[object] = [problems] if isinstance(problems, str) else list(problems)
        self.warnings = list(warnings)
        self.problems = [str(problem) for problem in self.found]
        super().__init__("\n".join(self.problems))


class CallerError(PlanoError):
    """The caller is to blame; the base of all such errors."""

    default_status = 400
    default_kind: ClassVar[Kind] = "invalid_request"


class InvalidRequest(CallerError):
    """The request is malformed or contradicts itself; `param` names the field, if there is one."""


class UnsupportedConversion(InvalidRequest):
    """The upstream's API cannot say a field of the client's request.

    Raised if the meaning would change without the field; in strict translation, for every such field.
    """

    default_code = "unsupported_conversion"


class Unauthenticated(CallerError):
    """The request has no key, an unknown one or several, or the application around plano knows no user for it."""

    default_status = 401
    default_kind: ClassVar[Kind] = "authentication"
    default_code = "invalid_api_key"


class PermissionDenied(CallerError):
    """The caller may not do this, such as a web page of another origin at a gateway without keys."""

    default_status = 403
    default_kind: ClassVar[Kind] = "permission"


class NotFound(CallerError):
    """Nothing is served at this path, or nothing is stored under this id for this caller."""

    default_status = 404
    default_kind: ClassVar[Kind] = "not_found"


class ModelNotFound(NotFound):
    """The model is unknown, or this caller may not use it; the two look alike on purpose."""

    default_code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model[:200]}` does not exist or you do not have access to it.", param="model")


class MethodNotAllowed(CallerError):
    """The path exists and does not take this HTTP method; `allow` is the value of the `Allow` header."""

    default_status = 405

    def __init__(self, message: str, *, allow: str, status: int | None = None) -> None:
        super().__init__(message, status=status, headers=[(b"allow", allow.encode())])


class BodyTimeout(CallerError):
    """The request's body did not arrive within the deadline."""

    default_status = 408
    default_kind: ClassVar[Kind] = "timeout"


class TooLarge(CallerError):
    """The request body, a stored item or a chain of responses is over its limit."""

    default_status = 413
    default_kind: ClassVar[Kind] = "too_large"


class RateLimited(CallerError):
    """The caller has sent too much in too short a time; `retry_after` says when it may go on.

    Attributes:
        rule: the name of the rule or budget that refused; None where it was another limit.
    """

    default_status = 429
    default_kind: ClassVar[Kind] = "rate_limit"
    default_code = "rate_limit_exceeded"

    def __init__(self, message: str, *, rule: str | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.rule = rule


class BudgetSpent(CallerError):
    """Nothing is left of a budget; `retry_after` says when there is again. To ask before that is of no use, and
    `x-should-retry` tells the SDKs so.

    The status is 429 and the code `insufficient_quota`; clients of the messages API get a 402 of the type
    `billing_error`.

    Attributes:
        budget: the budget, a `plano.limits.settings.Budget`.
    """

    default_status = 429
    default_kind: ClassVar[Kind] = "billing"
    default_code = "insufficient_quota"

    def __init__(self, message: str, *, budget: object, retry_after: float) -> None:
        super().__init__(message, retry_after=retry_after, headers=[(b"x-should-retry", b"false")])
        self.budget = budget


class UpstreamError(PlanoError):
    """The upstream, or the network on the way to it, is to blame; the base of all such errors.

    Attributes:
        failure: its class where words of the upstream's tell it; None where type and status do.
        sent: whether the upstream may have seen the request. False only where that is impossible: no connection was
            made, or nothing had gone out on it.
    """

    default_status = 502
    default_kind: ClassVar[Kind] = "upstream"
    failure: UpstreamFailure | None = None
    sent: bool = True


class UpstreamStatus(UpstreamError):
    """The upstream answered with an error; `status`, `message` and `code` are those that it sent."""


class UpstreamRefusedKey(UpstreamError):
    """The upstream refused the key that the gateway is configured with (by a 401 or 403)."""

    default_code = "upstream_credentials_exhausted"


class UpstreamUnavailable(UpstreamError):
    """No connection to the upstream could be made, or it broke before the reply was complete."""

    default_code = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    """The upstream was too slow to connect, to send its first byte, or to send the next chunk."""

    default_status = 504
    default_kind: ClassVar[Kind] = "timeout"
    default_code = "upstream_timeout"


class UpstreamProtocolError(UpstreamError):
    """The upstream sent a reply that breaks its protocol, ends early, or is not of the API that was asked."""

    default_code = "upstream_protocol_error"


class GatewayBusy(PlanoError):
    """All slots for requests that run at once are taken, and none came free in time.

    The status is 503; clients of the messages API get a 529.
    """

    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "gateway_busy"


class GatewayExhausted(PlanoError):
    """The machine or process has no descriptors, memory or ports left for a connection; no upstream was asked."""

    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "gateway_exhausted"


class GatewayStopping(PlanoError):
    """The gateway, or the application around it, was asked to stop and has waited as long as it may."""

    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "gateway_stopping"

    def __init__(self) -> None:
        super().__init__("The gateway is stopping and cannot finish this request. Please try again.", retry_after=1)


class StoreUnavailable(PlanoError):
    """Stored state was needed, and its store does not answer or cannot be used now."""

    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "state_store_unavailable"


class StateUnreadable(StoreUnavailable):
    """The state stored under an id is damaged.

    The caller is not to blame and the state is not gone, so this is reported as a failure of the store, which an
    operator looks at, and not as an unknown id.
    """

    default_code = "state_unreadable"

    def __init__(self, id: str) -> None:
        super().__init__(f"What the gateway stored under '{id[:200]}' is damaged and cannot be read.")


class GatewayFailed(PlanoError):
    """plano, or the application around it, raised an exception that is not a PlanoError; it is the `__cause__`."""

    def __init__(self) -> None:
        super().__init__("The gateway failed on this request.")


class FilterError(PlanoError):
    """A filter raised an exception that is not a PlanoError; `filter_name` says which filter."""

    default_code = "filter_error"

    def __init__(self, filter_name: str) -> None:
        super().__init__(f"The gateway's filter `{filter_name}` failed.")
        self.filter_name = filter_name
