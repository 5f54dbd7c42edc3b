"""The settings of limits: `ratelimits`, `budgets`, `admission` and `shared_state` of the configuration."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from plano.types import Secret

SelectBy: TypeAlias = Literal["header", "caller", "tenant", "entry"]
"""The thing that a rule counts by."""

Unit: TypeAlias = Literal["second", "minute", "hour", "day", "week", "month"]

SECONDS: dict[str, float] = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
"""The lengths of the units in which rates are given."""

ANY = "*"


class Selector(Struct, frozen=True, kw_only=True):
    """The subject that a rule counts for.

    Attributes:
        by: the kind of subject.
        header: the header that names it, in lower case, where `by` is `header`.
        value: the one subject that the rule is for; `*` gives each subject a limit of its own.
    """

    by: SelectBy
    header: str | None = None
    value: str = ANY


class Rule(Struct, frozen=True, kw_only=True):
    """One of `ratelimits`. A value of its own beats `*` among rules of the same model and subject.

    Attributes:
        name: its label in metrics and logs, `ratelimits[N]` unless the configuration names it.
        model: the `provider/model` that it is for; None for all requests.
        requests, tokens, input_tokens, output_tokens: the most in a period; None for any number.
        in_flight: the most requests at once.
        period: seconds in which that much may be used, which is also the burst.
        required: a request without the subject's header is refused.
    """

    name: str
    selector: Selector
    model: str | None = None
    requests: int | None = None
    tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    in_flight: int | None = None
    period: float = 60.0
    required: bool = False


class Budget(Struct, frozen=True, kw_only=True):
    """One of `budgets`.

    Attributes:
        name: its label.
        model: the `provider/model` that it is for; None for all.
        dollars, tokens: the most in a period; one of the two is None.
        unit: the period as days, weeks (from Monday) or months of the UTC calendar; None where it is `period`.
        period: seconds of a rolling period; None where it is a unit of the calendar.
        reserve_output: the most output tokens that are reserved for a request.
        fallback: the model that a request goes to when the budget is spent; it is charged to the same budget.
    """

    name: str
    selector: Selector
    model: str | None = None
    dollars: float | None = None
    tokens: int | None = None
    unit: Literal["day", "week", "month"] | None = "month"
    period: float | None = None
    reserve_output: int = 4096
    fallback: str | None = None


class Admission(Struct, frozen=True, kw_only=True):
    """`admission`: the requests that one worker process takes at once.

    Attributes:
        max_in_flight: the most that run at once; None for any number.
        queue: the most that wait.
        queue_wait: the most seconds that one waits.
        per_tenant: the most that run at once for one tenant; None for any number.
    """

    max_in_flight: int | None = None
    queue: int = 0
    queue_wait: float = 2.0
    per_tenant: int | None = None


class SharedState(Struct, frozen=True, kw_only=True):
    """`shared_state`: where counts are kept.

    Attributes:
        url: the address of Redis, as in `state_storage`.
        on_failure: what holds while Redis does not answer: `local` (the same limits for each process, budgets from
            the last known sums), `open` (no limits) or `closed` (a 503).
    """

    type: Literal["memory", "redis"] = "memory"
    url: Secret | None = None
    on_failure: Literal["local", "open", "closed"] = "local"
