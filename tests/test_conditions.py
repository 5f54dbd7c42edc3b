"""Which targets are out, how much of budgets is used, and whether shared state answers: as metrics and `/readyz`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano import Plano
from plano.conditions import MOST_TOLD, Conditions
from plano.limits.admission import EntrySlots
from plano.limits.memory import MemoryCounts
from plano.observability.instruments import Instruments
from plano.testing import FakeHosts
from plano.upstream.breaker import Health
from plano.upstream.choosing import Choosing
from plano.upstream.standing import STATES
from tests.asgi import Answer, ask
from tests.scraping import scrape

CHAT = "/v1/chat/completions"
KEYS = {"access_keys": ["sk-one-secret", "sk-two-secret"]}


def entry(host: str, **more: Any) -> dict[str, Any]:
    key = {} if "access_keys" in more else {"access_key": f"sk-{host}-secret"}
    return {"model": f"openai/{host}", "base_url": f"http://{host}", **key, **more}


def config(**more: Any) -> dict[str, Any]:
    return {
        "model_providers": [entry("a"), entry("b")],
        "model_aliases": {"smart": {"target": "a", "fallbacks": ["b"]}},
        "state_storage": {"type": "none"},
        **more,
    }


class Net:
    """Two fake hosts and a gateway before them."""

    def __init__(self, **said: Any) -> None:
        self.hosts = FakeHosts("a", "b")
        self.gateway = Plano(config(**said), transport=self.hosts)

    async def ask(self, times: int = 1, model: str = "smart") -> Answer:
        for _ in range(times):
            asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            answer = await ask(self.gateway, "POST", CHAT, asked)
        return answer

    async def ready(self) -> tuple[int, dict[str, Any]]:
        answer = await ask(self.gateway, "GET", "/readyz")
        for hidden in (b"secret", b"http://"):
            assert hidden not in answer.body
        return answer.status, answer.json()


@pytest.mark.parametrize(
    ("status", "headers", "times", "state", "why", "seconds"),
    [
        (500, {}, 4, None, None, None),
        (500, {}, 5, "ejected", "server", (8, 12)),
        (429, {"retry-after": "3600"}, 1, "resting", "rate_limit", (3500, 3600)),
        (429, {}, 1, "resting", "rate_limit", (0, 1)),
        (401, {}, 1, "resting", "credential", (250, 300)),
        (402, {}, 1, "resting", "quota", (250, 300)),
        (404, {}, 1, "no_model", "no_model", None),
        (400, {}, 9, None, None, None),
    ],
)
async def test_readyz_and_metrics_tell_which_targets_are_out_and_why(
    status: int, headers: Any, times: int, state: str | None, why: str | None, seconds: tuple[float, float] | None
) -> None:
    net = Net()
    net.hosts["a"].fail(status, headers=headers)
    await net.ask(times)
    code, told = await net.ready()
    assert (code, told["status"], told["shared_state"]) == (200, "ready", "none")
    if state is None:
        assert told["targets"] == []
    else:
        (target,) = told["targets"]
        left = target.pop("seconds")
        assert target == {"entry": "openai/a", "model": "a", "key_no": 0, "state": state, "why": why}
        assert (left is None) == (seconds is None)
        assert seconds is None or seconds[0] <= left <= seconds[1]
    found = await scrape(net.gateway)
    states = {each: found.of("plano_target_state", model="openai/a", state=each) for each in STATES}
    assert states == dict.fromkeys(STATES, 0.0) | {state or "in": 1}


async def test_a_gateway_with_every_target_out_is_ready() -> None:
    net = Net()
    for host in net.hosts:
        net.hosts[host].fail(500)
    await net.ask(6)
    code, told = await net.ready()
    assert (code, told["status"]) == (200, "ready")
    assert {(each["entry"], each["state"]) for each in told["targets"]} == {
        ("openai/a", "ejected"),
        ("openai/b", "ejected"),
    }


async def test_keys_are_told_by_number_alone() -> None:
    net = Net(model_providers=[entry("a", **KEYS)], model_aliases={})
    net.hosts["a"].fails(1, 401)
    net.hosts["a"].reply("here")
    assert (await net.ask(model="a")).status == 200
    (target,) = (await net.ready())[1]["targets"]
    assert target["key_no"] in (0, 1)
    found = await scrape(net.gateway)
    assert found.of("plano_target_state", state="resting") == 1
    assert found.of("plano_target_state", state="in") == 1


async def test_models_that_callers_make_up_are_masked_and_few() -> None:
    net = Net(model_providers=[entry("a") | {"model": "openai/*"}], model_aliases={}, resilience={"max_attempts": 2})
    net.hosts["a"].fail(404)
    await net.ask(model="openai/sk-0123456789abcdef0123")
    for number in range(MOST_TOLD):
        await net.ask(model=f"openai/model-{number}")
    code, told = await net.ready()
    assert (code, len(told["targets"])) == (200, MOST_TOLD)
    assert told["targets"][0]["model"] == "***"
    found = await scrape(net.gateway)
    assert found.of("plano_target_state", model="openai/*", state="no_model") == MOST_TOLD + 1
    assert {each["model"] for each in found.labels("plano_target_state")} == {"openai/*"}


async def test_states_go_back_to_none_when_a_target_is_well_again() -> None:
    net = Net()
    net.hosts["a"].fails(1, 429, headers={"retry-after": "3600"})
    await net.ask()
    assert (await scrape(net.gateway)).of("plano_target_state", model="openai/a", state="resting") == 1
    health = net.gateway._survivors.choosing.health
    for standing in health._standings.values():
        standing.clear(health.clock() + 1)
    found = await scrape(net.gateway)
    assert found.of("plano_target_state", model="openai/a", state="resting") == 0
    assert (await net.ready())[1]["targets"] == []


async def test_targets_of_a_request_without_a_choice_are_not_watched() -> None:
    net = Net(model_aliases={})
    net.hosts["a"].fail(500)
    await net.ask(6, model="a")
    assert (await net.ready())[1]["targets"] == []


# --- budgets --------------------------------------------------------------------------------------


async def test_budgets_tell_the_share_that_is_used() -> None:
    prices = {"models": {"openai/a": {"input": 0.0, "output": 1.0}, "openai/b": {"input": 0.0, "output": 1.0}}}
    selector = {"key": "x-user", "value": "*"}
    budget = {"name": "purse", "selector": selector, "limit": {"tokens": 1000, "unit": "day"}}
    net = Net(budgets=[budget], prices=prices)
    assert (await scrape(net.gateway)).labels("plano_budget_used_ratio") == []
    for user, most in (("ann", 500), ("bea", 100)):
        asked = {"model": "smart", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": most}
        assert (await ask(net.gateway, "POST", CHAT, asked, {"x-user": user})).status == 200
    assert (await scrape(net.gateway)).of("plano_budget_used_ratio", budget="purse") == pytest.approx(0.5, abs=0.02)


# --- shared state ---------------------------------------------------------------------------------


class Shared(MemoryCounts):
    """Counts whose server can be gone."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.failures = {mode: 0}
        self.gone = False

    @property
    def degraded(self) -> bool:
        return self.gone

    async def ready(self) -> bool:
        return not self.gone or "closed" not in self.failures


@pytest.mark.parametrize(
    ("mode", "gone", "expected"),
    [
        ("local", False, (True, "reachable")),
        ("local", True, (True, "degraded")),
        ("open", True, (True, "degraded")),
        ("closed", False, (True, "reachable")),
        ("closed", True, (False, "degraded")),
    ],
)
async def test_shared_state_that_is_gone_is_told(mode: str, gone: bool, expected: tuple[bool, str]) -> None:
    instruments, shared = Instruments((), ()), Shared(mode)
    conditions = Conditions(instruments, Choosing(Health(), EntrySlots(), 0.2), shared)
    assert instruments.unshared[(mode,)].value == 0
    shared.gone = gone
    shared.failures[mode] = 3
    assert await conditions.shared_state() == expected
    instruments.refresh()
    assert {key: number.value for key, number in instruments.unshared.items()} == {(mode,): 3.0}


async def test_counts_in_memory_are_not_shared() -> None:
    conditions = Conditions(Instruments((), ()), Choosing(Health(), EntrySlots(), 0.2), MemoryCounts())
    assert await conditions.shared_state() == (True, "none")


@pytest.mark.parametrize(("mode", "code"), [("local", 200), ("open", 200), ("closed", 503)])
async def test_a_gateway_without_its_redis_says_so(mode: str, code: int) -> None:
    url = "redis://user:hunter2-secret@127.0.0.1:1/0"
    rule = {"selector": {"by": "caller"}, "limit": {"requests": 100, "unit": "minute"}}
    net = Net(shared_state={"type": "redis", "url": url, "on_failure": mode}, ratelimits=[rule])
    answer = await net.ask()
    assert answer.status == (503 if mode == "closed" else 200)
    status, told = await net.ready()
    assert (status, told["status"], told["shared_state"]) == (code, "degraded", "degraded")
    assert "127.0.0.1" not in json.dumps(told)
    assert (await scrape(net.gateway)).of("plano_shared_state_failures_total", mode=mode) >= 1
    await net.gateway.aclose()
