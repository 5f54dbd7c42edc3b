"""What can go wrong, split by whose fault it is.

    PlanoError
    ├── ConfigError                    at start-up only; lists every problem it found
    ├── CallerError                    the caller's: 4xx
    │   ├── InvalidRequest             400  malformed JSON, wrong types, bad parameters
    │   │   └── UnsupportedConversion  400  the target's API cannot say what was asked
    │   ├── Unauthenticated            401  missing or unknown key
    │   ├── PermissionDenied           403
    │   ├── NotFound                   404  unknown path or stored id
    │   │   └── ModelNotFound          404  unknown model, or one this caller may not use
    │   ├── MethodNotAllowed           405  426 for an attempt at a WebSocket
    │   ├── BodyTimeout                408  the body did not arrive in time
    │   ├── TooLarge                   413  body, stored item or chain over its limit
    │   └── RateLimited                429
    ├── UpstreamError                  the upstream's: 502 unless said otherwise
    │   ├── UpstreamStatus             an upstream's own 4xx or 5xx, its status kept
    │   ├── UpstreamRefusedKey         502  the gateway's key was refused there
    │   ├── UpstreamUnavailable        502  no connection, or it broke
    │   ├── UpstreamTimeout            504  connect, first byte, or idle between chunks
    │   └── UpstreamProtocolError      502  a reply that is not what was asked for
    ├── GatewayExhausted               503  no descriptors, memory or ports of its own for a connection to an upstream
    ├── StoreUnavailable               503  stored state was needed and could not be reached
    │   └── StateUnreadable            503  it is there, and damaged
    └── FilterError                    500  a filter has a bug; names the filter

Each error carries what a client needs to see; `plano.dialects` renders it in the client's
dialect, as a body or as the last event of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "too_large",
    "rate_limit",
    "timeout",
    "overloaded",
    "upstream",
    "server",
]
"""What an error is about, independent of the dialect; each dialect has one word for each."""


UpstreamFailure: TypeAlias = Literal[
    "rate_limit", "client_error", "server_error", "refused_key", "unavailable", "timeout", "protocol", "broken_stream"
]
"""How an upstream failed. `client_error`: another 4xx of its own; `server_error`: a 5xx; `broken_stream`: anything
that ends a reply which had begun."""

UPSTREAM_FAILURES: tuple[UpstreamFailure, ...] = get_args(UpstreamFailure)


class PlanoError(Exception):
    """Base of everything plano raises.

    Attributes:
        status: HTTP status, 400 to 599.
        kind: see `Kind`.
        message: one sentence for the client; never holds a key.
        code: the machine-readable reason, as OpenAI's `error.code`, or None.
        param: path of the offending field, as OpenAI's `error.param`, or None.
        retry_after: seconds, when the client may try again, or None.
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
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status if status is not None else self.default_status
        self.kind: Kind = kind if kind is not None else self.default_kind
        self.code = code if code is not None else self.default_code
        self.param = param
        self.retry_after = retry_after


def forget_frames(error: BaseException) -> None:
    """Take the tracebacks off an error and off all that it came from. For one that is kept: its frames would keep what
    they worked on, a request's body say, and by way of it the error itself, until the cycle collector comes by."""
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
    """The configuration cannot work. `problems` holds one line for each thing wrong."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class CallerError(PlanoError):
    """The caller's fault."""

    default_status = 400
    default_kind: ClassVar[Kind] = "invalid_request"


class InvalidRequest(CallerError):
    """Malformed or contradictory; `param` names the field where there is one."""


class UnsupportedConversion(InvalidRequest):
    """The upstream speaks another API, and that API cannot say what was asked."""

    default_code = "unsupported_conversion"


class Unauthenticated(CallerError):
    default_status = 401
    default_kind: ClassVar[Kind] = "authentication"
    default_code = "invalid_api_key"


class PermissionDenied(CallerError):
    default_status = 403
    default_kind: ClassVar[Kind] = "permission"


class NotFound(CallerError):
    default_status = 404
    default_kind: ClassVar[Kind] = "not_found"


class ModelNotFound(NotFound):
    default_code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model[:200]}` does not exist or you do not have access to it.", param="model")


class MethodNotAllowed(CallerError):
    default_status = 405

    def __init__(self, message: str, *, allow: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.allow = allow


class BodyTimeout(CallerError):
    default_status = 408
    default_kind: ClassVar[Kind] = "timeout"


class TooLarge(CallerError):
    default_status = 413
    default_kind: ClassVar[Kind] = "too_large"


class RateLimited(CallerError):
    default_status = 429
    default_kind: ClassVar[Kind] = "rate_limit"
    default_code = "rate_limit_exceeded"


class UpstreamError(PlanoError):
    """The upstream's fault, or the network's."""

    default_status = 502
    default_kind: ClassVar[Kind] = "upstream"


class UpstreamStatus(UpstreamError):
    """The upstream answered with an error of its own; status, message and code are its."""


class UpstreamRefusedKey(UpstreamError):
    """The upstream refused the key that the gateway is configured with (its 401 or 403)."""

    default_code = "upstream_authentication_failed"


class UpstreamUnavailable(UpstreamError):
    default_code = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    default_status = 504
    default_kind: ClassVar[Kind] = "timeout"
    default_code = "upstream_timeout"


class UpstreamProtocolError(UpstreamError):
    default_code = "upstream_protocol_error"


class GatewayExhausted(PlanoError):
    """This machine or process is out of what a connection takes, so that no upstream was asked and none is to blame."""

    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "gateway_exhausted"


class StoreUnavailable(PlanoError):
    default_status = 503
    default_kind: ClassVar[Kind] = "overloaded"
    default_code = "state_store_unavailable"


class StateUnreadable(StoreUnavailable):
    """What is stored under an id is not what was put there.

    Neither the caller's fault nor gone: told as a failure of the store, so that it is looked at, and not as an id that
    never was.
    """

    default_code = "state_unreadable"

    def __init__(self, id: str) -> None:
        super().__init__(f"What the gateway stored under '{id[:200]}' is damaged and cannot be read.")


class GatewayFailed(PlanoError):
    """plano itself failed; the cause says how."""

    def __init__(self) -> None:
        super().__init__("The gateway failed on this request.")


class FilterError(PlanoError):
    """A filter raised something that is not a PlanoError; `filter_name` says which."""

    default_code = "filter_error"

    def __init__(self, filter_name: str) -> None:
        super().__init__(f"The gateway's filter `{filter_name}` failed.")
        self.filter_name = filter_name
