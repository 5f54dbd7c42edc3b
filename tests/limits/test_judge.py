from __future__ import annotations

from typing import Any

import pytest

from plano.conversation import Usage
from plano.errors import BudgetSpent, InvalidRequest, PermissionDenied, PlanoError, RateLimited
from plano.limits.cells import Cell, Verdict
from plano.limits.grants import Grant
from plano.limits.judge import Judge
from plano.limits.memory import MemoryCounts
from plano.limits.settings import Budget, Rule
from plano.observability.prices import Price
from plano.request import Request
from plano.types import CLIENT_DIALECTS, Caller, ClientDialect
from tests.limits.asking import Known, budget, request, rule, target
from tests.limits.clock import Clock

LAB, ACME = Caller(name="a", tenant="lab"), Caller(name="b", tenant="acme")
LONG, VIP = {"x-user": "x" * 99}, {"x-user": "vip"}
USED = Usage(input_tokens=300, output_tokens=200)


class Bench:
    """A judge over counts in memory, and the clock of both."""

    def __init__(self, *limits: Rule | Budget, prices: Any = None) -> None:
        self.clock = Clock()
        self.counts = MemoryCounts(self.clock)
        self.judge = Judge(
            [each for each in limits if isinstance(each, Rule)],
            [each for each in limits if isinstance(each, Budget)],
            self.counts,
            prices or Known(),
            clock=self.clock,
        )

    async def passes(self, asked: Request, to: str | None = None) -> bool:
        """Whether a request passes, or an attempt of it; what it takes is never settled."""
        try:
            await self.ask(asked, to)
        except RateLimited:
            return False
        return True

    async def ask(self, asked: Request, to: str | None = None) -> Grant:
        if to is None:
            return await self.judge.for_request(asked)
        return await self.judge.for_target(asked, target(to))


@pytest.mark.parametrize(
    ("rules", "first", "second", "both_pass"),
    [
        # each value has a limit of its own
        ([rule("tenant", requests=1)], request(LAB), request(LAB), False),
        ([rule("tenant", requests=1)], request(LAB), request(ACME), True),
        ([rule("caller", requests=1)], request(LAB), request(LAB), False),
        ([rule("caller", requests=1)], request(LAB), request(Caller(name="c", tenant="lab")), True),
        ([rule("caller", requests=1)], request(LAB), request(Caller(name="a", tenant="acme")), True),
        ([rule("x-user", requests=1)], request(headers={"x-user": "1"}), request(headers={"x-user": "1"}), False),
        ([rule("x-user", requests=1)], request(headers={"x-user": "1"}), request(headers={"x-user": "2"}), True),
        ([rule("x-user", requests=1)], request(headers={"x-user": "é"}), request(headers={"x-user": "é"}), False),
        ([rule("x-user", requests=1)], request(headers=LONG), request(headers=LONG), False),
        ([rule("x-user", requests=1)], request(headers=LONG), request(headers={"x-user": "x" * 98}), True),
        # a subject of one tenant is none of another's
        (
            [rule("x-user", requests=1)],
            request(LAB, headers={"x-user": "1"}),
            request(ACME, headers={"x-user": "1"}),
            True,
        ),
        (
            [rule("x-user", requests=1)],
            request(Caller(tenant="a"), headers={"x-user": "b:c"}),
            request(Caller(tenant="a:b"), headers={"x-user": "c"}),
            True,
        ),
        # without the subject there is no such rule
        ([rule("x-user", requests=1)], request(), request(), True),
        ([rule("x-user", requests=1)], request(headers={"x-user": ""}), request(headers={"x-user": ""}), True),
        # a rule for one value
        ([rule("tenant", "lab", requests=1)], request(LAB), request(LAB), False),
        ([rule("tenant", "lab", requests=1)], request(ACME), request(ACME), True),
        ([rule("x-user", "vip", requests=1)], request(headers=VIP), request(headers=VIP), False),
        # a value of its own beats `*`, and only where it is for the same subject
        ([rule("tenant", requests=1), rule("tenant", "lab", requests=2)], request(LAB), request(LAB), True),
        ([rule("tenant", requests=1), rule("tenant", "lab", requests=2)], request(ACME), request(ACME), False),
        ([rule("caller", requests=1), rule("tenant", "lab", requests=2)], request(LAB), request(LAB), False),
        ([rule("x-a", requests=1), rule("x-b", "1", requests=2)], request(headers={"x-a": "1", "x-b": "1"}),
         request(headers={"x-a": "1", "x-b": "1"}), False),
        # otherwise all rules count, also two of the same kind
        ([rule("tenant", requests=9), rule("tenant", requests=1, period=1.0)], request(LAB), request(LAB), False),
        ([rule("tenant", requests=9), rule("tenant", requests=1)], request(LAB), request(LAB), False),
        ([rule("tenant", "lab", requests=1), rule("tenant", "lab", requests=9)], request(LAB), request(LAB), False),
        ([rule("tenant", in_flight=1)], request(LAB), request(LAB), False),
        ([rule("tenant", in_flight=1)], request(LAB), request(ACME), True),
    ],
)  # fmt: skip
async def test_a_rule_counts_for_its_subjects(
    rules: list[Rule], first: Request, second: Request, both_pass: bool
) -> None:
    bench = Bench(*rules)

    assert await bench.passes(first)
    assert await bench.passes(second) == both_pass


@pytest.mark.parametrize(
    ("limit", "to", "counts"),
    [
        (rule(model="openai/gpt-4o", requests=1), "openai/gpt-4o", True),
        (rule(model="openai/gpt-4o", requests=1), "openai/gpt-4o-mini", False),
        (rule(model="openai/gpt-4o-mini", requests=1), "openai/gpt-4o-mini", True),
        (rule(model="openai/*", requests=1), "openai/gpt-4o-mini", True),
        (rule(model="openai/*", requests=1), "openai/gpt-4o", True),
        (rule(model="openai/*", requests=1), "groq/llama", False),
        (rule("entry", requests=1), "groq/llama", True),
        (rule("entry", "groq/llama", requests=1), "groq/llama", True),
        (rule("entry", "groq/llama", requests=1), "openai/gpt-4o", False),
        (rule("x-user", model="groq/llama", requests=1), "groq/llama", True),
        (rule("tenant", requests=1), "groq/llama", False),  # it is judged for the request
    ],
)
async def test_a_rule_with_a_model_counts_for_the_target_that_runs(limit: Rule, to: str, counts: bool) -> None:
    bench = Bench(limit)
    asked = request(LAB, headers={"x-user": "1"})

    assert await bench.passes(asked, to)
    assert await bench.passes(asked, to) != counts
    assert bench.judge.concerns_requests == (limit.model is None and limit.selector.by != "entry")
    if counts:
        assert bench.judge.concerns(target(to))


async def test_what_is_not_configured_concerns_nothing() -> None:
    bench = Bench()

    assert not bench.judge.concerns_requests
    assert not bench.judge.concerns(target())
    grant = await bench.ask(request(), "openai/gpt-4o")
    grant.settle(USED)
    await grant.release()
    assert len(bench.counts) == 0


@pytest.mark.parametrize("model", [None, "openai/gpt-4o"])
@pytest.mark.parametrize("value", ["*", "1"])
async def test_a_header_that_is_required_must_be_there(model: str | None, value: str) -> None:
    bench = Bench(rule("x-user", value, model=model, requests=1, required=True))
    to = None if model is None else "openai/gpt-4o"
    assert await bench.passes(request(headers={"x-user": "1"}), to)

    with pytest.raises(InvalidRequest, match="x-user") as raised:
        await bench.ask(request(), to)

    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("limits", "retry_after", "limited_for", "message"),
    [
        ({"requests": 1}, 60, "requests", "1 requests in 60 seconds (`the rule`). Please try again in 60s."),
        ({"requests": 1, "period": 0.5}, 1, "requests", "again in 1s"),
        ({"requests": 1, "period": 86400.0}, 86400, "requests", "again in 86400s"),
        ({"tokens": 1200}, 43, "tokens", "1200 tokens in 60 seconds"),
        ({"input_tokens": 7}, 26, "input_tokens", "7 input tokens in 60 seconds"),
        ({"output_tokens": 1024}, 60, "output_tokens", "1024 output tokens in 60 seconds"),
        ({"in_flight": 1}, 1, "in_flight", "Too many requests at once: at most 1 may run (`the rule`)."),
    ],
)  # fmt: skip
async def test_a_refusal_says_which_limit_and_how_long(
    limits: dict[str, Any], retry_after: int, limited_for: str, message: str
) -> None:
    bench = Bench(rule(**limits))
    await bench.ask(request(LAB))
    asked = request(LAB)

    with pytest.raises(RateLimited) as raised:
        await bench.ask(asked)

    assert (raised.value.status, raised.value.rule, raised.value.retry_after) == (429, "the rule", retry_after)
    assert message in raised.value.message
    assert (asked.journal.limited_by, asked.journal.limited_for) == ("the rule", limited_for)


async def test_a_request_that_is_refused_by_concurrency_takes_no_rate() -> None:
    bench = Bench(rule(requests=3, tokens=100_000, in_flight=1))
    held = await bench.ask(request(LAB))
    for _ in range(20):
        assert not await bench.passes(request(LAB))

    await held.release()

    asked = request(LAB)
    await bench.ask(asked)
    assert {gauge.counts: gauge.left for gauge in asked.journal.gauges} == {"requests": 1, "tokens": 100_000 - 2 * 1029}


@pytest.mark.parametrize(
    ("usage", "left"),
    [
        (USED, {"requests": 98, "tokens": 9_500, "input_tokens": 9_700, "output_tokens": 9_800}),
        (Usage(input_tokens=7_000, output_tokens=1_500, cached_tokens=6_000),
         {"requests": 98, "tokens": 1_500, "input_tokens": 3_000, "output_tokens": 8_500}),
        (None, {"requests": 98, "tokens": 10_000, "input_tokens": 10_000, "output_tokens": 10_000}),
    ],
)  # fmt: skip
async def test_tokens_are_settled_once_by_what_was_used(usage: Usage | None, left: dict[str, int]) -> None:
    bench = Bench(rule(requests=100, tokens=10_000, input_tokens=10_000, output_tokens=10_000))
    grant = await bench.ask(request(LAB))
    for _ in range(3):
        grant.settle(usage)
        grant.settle(USED)
        await grant.release()

    asked = request(LAB, operation="count_tokens")  # takes a request and no tokens
    counted = request(LAB)
    await bench.ask(asked)
    assert {gauge.counts for gauge in asked.journal.gauges} == {"requests"}
    (await bench.ask(counted)).settle(None)
    found = {gauge.counts: gauge.left for gauge in counted.journal.gauges}
    taken = {"requests": 1, "tokens": 1029, "input_tokens": 5, "output_tokens": 1024}
    assert found == {counts: left[counts] - taken[counts] for counts in left}


async def test_one_request_above_the_limit_is_admitted_while_the_bucket_is_full() -> None:
    bench = Bench(rule(tokens=1_000))
    grant = await bench.ask(request(LAB, max_tokens=50_000))
    grant.settle(Usage(input_tokens=100, output_tokens=1_900))

    assert not await bench.passes(request(LAB))
    bench.clock.advance(60)
    assert not await bench.passes(request(LAB))
    bench.clock.advance(61)
    assert await bench.passes(request(LAB, max_tokens=50_000))


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
async def test_a_request_without_texts_counts_hardly_any_tokens_and_breaks_nothing(dialect: ClientDialect) -> None:
    bodies: dict[ClientDialect, dict[str, Any]] = {
        "chat": {"messages": [], "tools": []},
        "messages": {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
        "responses": {"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
    }
    bench = Bench(rule(input_tokens=50))

    for _ in range(9):
        (await bench.ask(request(LAB, dialect=dialect, **bodies[dialect]))).settle(Usage())

    asked = request(LAB, dialect=dialect)
    await bench.ask(asked)
    assert asked.journal.gauges[0].left >= 40


@pytest.mark.parametrize(("operation", "reserved"), [("count_tokens", 0), ("create", 1029), ("embeddings", 5)])
async def test_only_operations_that_use_tokens_reserve_them(operation: str, reserved: int) -> None:
    bench = Bench(rule(requests=10, tokens=10_000))
    asked = request(LAB, operation=operation)

    await bench.ask(asked)

    assert asked.journal.reserved == ({"tokens": reserved, "dollars": 0.0} if reserved else None)
    assert [gauge.left for gauge in asked.journal.gauges] == [9, *([10_000 - reserved] if reserved else [])]


# --- budgets ---


async def test_a_budget_is_charged_at_the_price_of_the_target_that_runs() -> None:
    prices = Known(openai__gpt_4o=Price(input=1000.0, output=2000.0, cached_input=100.0))
    bench = Bench(budget(dollars=10.0), prices=prices)
    asked = request(LAB, max_tokens=100)
    grant = await bench.ask(asked, "openai/gpt-4o")
    assert asked.journal.reserved == {"tokens": 0, "dollars": pytest.approx(0.205)}

    grant.settle(Usage(input_tokens=2_000, output_tokens=1_000, cached_tokens=1_000))

    assert asked.journal.settled is not None
    assert asked.journal.settled["dollars"] == pytest.approx(1.0 + 0.1 + 2.0)
    await bench.ask(request(LAB, max_tokens=100), "openai/gpt-4o")
    assert bench.judge.used == {"the budget": pytest.approx(0.3305)}


async def test_the_reservation_covers_input_that_is_written_to_a_cache() -> None:
    prices = Known(openai__gpt_4o=Price(input=1000.0, output=0.0, cache_creation=1250.0))
    asked = request(LAB)
    await Bench(budget(dollars=10.0), prices=prices).ask(asked, "openai/gpt-4o")

    assert asked.journal.reserved == {"tokens": 0, "dollars": pytest.approx(0.00625)}


@pytest.mark.parametrize(
    ("fields", "more", "reserved"),
    [
        ({}, {}, 4096 + 5),
        ({}, {"reserve_output": 100}, 100 + 5),
        ({"max_tokens": 50}, {}, 50 + 5),
        ({"max_tokens": 60_000}, {}, 4096 + 5),
        ({"max_completion_tokens": 70, "max_tokens": 50}, {}, 70 + 5),
        ({"max_tokens": 50, "n": 3}, {}, 150 + 5),
    ],
)
async def test_a_budget_reserves_no_more_than_its_share(
    fields: dict[str, Any], more: dict[str, Any], reserved: int
) -> None:
    asked = request(LAB, **fields)
    await Bench(budget(tokens=1_000_000, **more)).ask(asked, "openai/gpt-4o")

    assert asked.journal.reserved == {"tokens": reserved, "dollars": 0.0}


async def test_a_request_without_a_limit_does_not_pin_a_budget_that_is_nearly_spent() -> None:
    bench = Bench(budget(tokens=10_000))
    spender = await bench.ask(request(LAB), "openai/gpt-4o")
    spender.settle(Usage(input_tokens=9_000, output_tokens=900))

    last = await bench.ask(request(LAB), "openai/gpt-4o")  # reserves 4 096, and a hundred are left

    with pytest.raises(RateLimited) as raised:
        await bench.ask(request(LAB), "openai/gpt-4o")
    assert (raised.value.retry_after, raised.value.rule) == (2, "the budget")
    last.settle(Usage(input_tokens=50, output_tokens=10))
    assert await bench.passes(request(LAB), "openai/gpt-4o")


@pytest.mark.parametrize(
    ("unit", "period", "retry_after"),
    [("day", None, 2 * 3600 + 26 * 60 + 40), ("month", None, 26 * 3600 + 26 * 60 + 40), (None, 600.0, 610)],
)
async def test_a_spent_budget_is_refused_until_its_period_is_over(
    unit: Any, period: float | None, retry_after: int
) -> None:
    bench = Bench(budget(tokens=500, unit=unit, period=period))
    (await bench.ask(request(LAB), "openai/gpt-4o")).settle(USED)
    asked = request(LAB)

    with pytest.raises(BudgetSpent) as raised:
        await bench.ask(asked, "openai/gpt-4o")

    assert raised.value.budget == budget(tokens=500, unit=unit, period=period)
    assert raised.value.retry_after == pytest.approx(retry_after, abs=10 if period else 0)
    assert (asked.journal.limited_by, asked.journal.limited_for) == ("the budget", "budget_spent")
    assert await bench.passes(request(ACME), "openai/gpt-4o")
    bench.clock.advance(retry_after)
    assert await bench.passes(request(LAB), "openai/gpt-4o")


@pytest.mark.parametrize(
    ("free", "to", "outcome"),
    [
        ("groq/llama", "groq/llama", None),  # a model that costs nothing needs no budget
        ("groq/llama", "openai/gpt-4o", BudgetSpent),
    ],
)
async def test_a_budget_in_dollars_concerns_what_costs_dollars(
    free: str, to: str, outcome: type[PlanoError] | None
) -> None:
    bench = Bench(budget(dollars=0.5), prices=Known(groq__llama=Price(input=0.0)))
    (await bench.ask(request(LAB), "openai/gpt-4o")).settle(USED)

    if outcome is None:
        (await bench.ask(request(LAB), to)).settle(USED)
    else:
        with pytest.raises(outcome):
            await bench.ask(request(LAB), to)


async def test_a_target_without_a_price_is_not_free_of_charge() -> None:
    bench = Bench(budget(dollars=5.0), prices=Known(openai__gpt_4o=None))

    with pytest.raises(PermissionDenied) as raised:
        await bench.ask(request(LAB), "openai/gpt-4o")

    assert raised.value.code == "price_unknown"
    await Bench(budget(tokens=5), prices=Known(openai__gpt_4o=None)).ask(request(LAB), "openai/gpt-4o")


@pytest.mark.parametrize("by", ["tenant", "caller", "x-user", "entry"])
@pytest.mark.parametrize("model", [None, "openai/gpt-4o"])
async def test_the_fallback_of_a_spent_budget_is_charged_to_it_and_not_refused(by: str, model: str | None) -> None:
    ours = budget(by, model=model, tokens=500, fallback="groq/llama")
    others = budget("tenant", name="others", model="groq/llama", tokens=2_000)
    bench = Bench(ours, others)

    def asked() -> Request:
        return request(LAB, headers={"x-user": "1"}, max_tokens=10).replace(target=target("openai/gpt-4o"))

    (await bench.ask(asked(), "openai/gpt-4o")).settle(USED)
    with pytest.raises(BudgetSpent) as raised:
        await bench.ask(asked(), "openai/gpt-4o")
    assert raised.value.budget is ours

    for _ in range(4):
        grant = await bench.judge.for_target(asked(), target("groq/llama"), over=ours)
        grant.settle(USED)

    assert bench.judge.used["the budget"] == 1.0  # as the last refusal found it
    with pytest.raises(BudgetSpent) as raised:  # the fallback's own budget holds
        await bench.judge.for_target(asked(), target("groq/llama"), over=ours)
    assert raised.value.budget is others
    purses = [state for key, state in {**bench.counts._known, **bench.counts._made}.items() if "the budget" in key]
    assert [purse.spent for purse in purses] == [2_500]


async def test_rules_for_the_target_and_budgets_are_one_decision() -> None:
    bench = Bench(rule(model="openai/gpt-4o", requests=5), budget(tokens=500))
    (await bench.ask(request(LAB), "openai/gpt-4o")).settle(USED)
    for _ in range(9):
        with pytest.raises(BudgetSpent):
            await bench.ask(request(LAB), "openai/gpt-4o")

    bench.clock.advance(40 * 86400)
    asked = request(LAB)
    await bench.ask(asked, "openai/gpt-4o")
    assert (b"x-ratelimit-remaining-requests", b"4") in asked.journal.told


# --- what clients are told ---


@pytest.mark.parametrize(
    ("dialect", "told"),
    [
        ("chat", [("x-ratelimit-limit-requests", "10"), ("x-ratelimit-remaining-requests", "9"),
                  ("x-ratelimit-reset-requests", "6s")]),
        ("responses", [("x-ratelimit-limit-requests", "10"), ("x-ratelimit-remaining-requests", "9"),
                       ("x-ratelimit-reset-requests", "6s")]),
        ("messages", [("anthropic-ratelimit-requests-limit", "10"), ("anthropic-ratelimit-requests-remaining", "9"),
                      ("anthropic-ratelimit-requests-reset", "2026-11-29T21:33:26Z")]),
    ],
)  # fmt: skip
async def test_a_client_is_told_its_limits_in_the_form_of_its_dialect(
    dialect: ClientDialect, told: list[tuple[str, str]]
) -> None:
    asked = request(LAB, dialect=dialect)
    await Bench(rule(requests=10)).ask(asked)

    assert [(name.decode(), value.decode()) for name, value in asked.journal.told] == told


async def test_of_several_rules_the_tightest_of_each_kind_is_told() -> None:
    bench = Bench(
        rule("tenant", requests=100),
        rule("caller", requests=20, tokens=9_000),
        rule("tenant", model="openai/gpt-4o", requests=5, tokens=50_000),
        rule("tenant", model="groq/llama", requests=50),
    )
    asked = request(LAB)
    await bench.ask(asked)
    assert _remaining(asked) == {"requests": "19", "tokens": "7971"}
    await bench.ask(asked, "openai/gpt-4o")
    assert _remaining(asked) == {"requests": "4", "tokens": "7971"}
    await bench.ask(asked, "groq/llama")
    assert _remaining(asked) == {"requests": "19", "tokens": "7971"}


async def test_a_refused_request_is_told_its_limits_too() -> None:
    bench = Bench(rule(requests=1), rule("caller", in_flight=9))
    await bench.ask(request(LAB))
    asked = request(LAB)

    assert not await bench.passes(asked)
    assert _remaining(asked) == {"requests": "0"}


def _remaining(asked: Request) -> dict[str, str]:
    found = {name.decode(): value.decode() for name, value in asked.journal.told}
    return {
        name.removeprefix("x-ratelimit-remaining-"): value
        for name, value in found.items()
        if name.startswith("x-ratelimit-remaining-")
    }


class Degraded(MemoryCounts):
    """Counts whose shared server does not answer, so that each process counts for itself."""

    @property
    def degraded(self) -> bool:
        return True


@pytest.mark.parametrize("counts", [MemoryCounts(), Degraded()])
async def test_nothing_is_told_while_limits_are_not_shared_as_configured(counts: MemoryCounts) -> None:
    judge = Judge([rule(requests=10)], [], counts, Known())
    asked = request(LAB)

    await judge.for_request(asked)

    assert bool(asked.journal.told) != counts.degraded


async def test_shared_counts_are_asked_once_for_a_decision() -> None:
    class Shared:
        """Counts that another process keeps."""

        degraded = False

        def __init__(self) -> None:
            self.taken: list[list[Cell]] = []

        async def take(self, cells: Any) -> Verdict:
            self.taken.append(list(cells))
            return Verdict(None, 0.0, (1.0,) * len(cells), (1.0,) * len(cells))

        async def settle(self, corrections: Any) -> None: ...
        async def release(self, leases: Any) -> None: ...
        async def renew(self, leases: Any) -> None: ...
        async def aclose(self) -> None: ...

    shared = Shared()
    judge = Judge([rule(requests=1, tokens=1, in_flight=1), rule("caller", requests=1)], [], shared, Known())

    await judge.for_request(request(LAB))

    assert [[type(cell).__name__ for cell in cells] for cells in shared.taken] == [["Lease", "Rate", "Rate", "Rate"]]
    assert len({cell.key for cell in shared.taken[0]}) == 4
