"""What clients of each dialect are told of limits, in headers and in errors."""

from __future__ import annotations

import anthropic
import openai
import pytest

from plano.dialects import client_codec
from plano.dialects.codec import Gauge
from plano.dialects.messages.limits import moment
from plano.dialects.openai_limits import duration
from plano.error_response import error_response
from plano.errors import BudgetSpent, PlanoError, RateLimited
from plano.request import Request
from plano.testing import serve
from plano.types import CLIENT_DIALECTS, ClientDialect, Receive, Scope, Send
from tests import oracles

GAUGES = [
    Gauge("requests", 600, 599, 0.1),
    Gauge("tokens", 100_000, 0, 360.0),
    Gauge("input_tokens", 80_000, 70_000, 45.2),
    Gauge("output_tokens", 20_000, 19_000, 3_600.0),
]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0ms"), (0.0114, "12ms"), (0.5, "500ms"), (0.9995, "1s"), (1.0, "1s"), (6.2, "7s"), (59.5, "1m0s"),
        (60.0, "1m0s"), (360.0, "6m0s"), (3599.1, "1h0m0s"), (3661.0, "1h1m1s"), (90_000.0, "25h0m0s"),
    ],
)  # fmt: skip
def test_a_duration_is_written_as_openai_writes_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(1_795_988_000.0, "2026-11-29T21:33:20Z"), (1_795_988_000.2, "2026-11-29T21:33:21Z")]
)
def test_a_moment_is_written_as_anthropic_writes_it(seconds: float, said: str) -> None:
    assert moment(seconds) == said


OPENAI = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-reset-requests": "100ms",
    "x-ratelimit-limit-tokens": "100000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "600",
    "anthropic-ratelimit-requests-remaining": "599",
    "anthropic-ratelimit-requests-reset": "2026-11-29T21:33:21Z",
    "anthropic-ratelimit-tokens-limit": "100000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-11-29T21:39:20Z",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "70000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-29T21:34:06Z",
    "anthropic-ratelimit-output-tokens-limit": "20000",
    "anthropic-ratelimit-output-tokens-remaining": "19000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-29T22:33:20Z",
}


@pytest.mark.parametrize(("dialect", "headers"), [("chat", OPENAI), ("responses", OPENAI), ("messages", ANTHROPIC)])
def test_limits_are_told_in_the_headers_of_the_dialect(dialect: ClientDialect, headers: dict[str, str]) -> None:
    told = client_codec(dialect).write_limits(GAUGES, 1_795_988_000.0)

    assert {name.decode(): value.decode() for name, value in told} == headers
    assert client_codec(dialect).write_limits([], 0.0) == []


SPENT = BudgetSpent("The budget `lab` is spent.", budget=None, retry_after=100.0)
LIMITED = RateLimited("Too many.", retry_after=7)


@pytest.mark.parametrize(
    ("dialect", "error", "status", "said"),
    [
        ("chat", SPENT, 429, {"type": "insufficient_quota", "code": "insufficient_quota"}),
        ("responses", SPENT, 429, {"type": "insufficient_quota", "code": "insufficient_quota"}),
        ("messages", SPENT, 402, {"type": "billing_error"}),
        ("chat", LIMITED, 429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
        ("responses", LIMITED, 429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
        ("messages", LIMITED, 429, {"type": "rate_limit_error"}),
    ],
)
def test_a_refusal_is_said_in_the_words_of_the_dialect(
    dialect: ClientDialect, error: PlanoError, status: int, said: dict[str, str]
) -> None:
    response = error_response(Request(dialect=dialect), error)

    headers = {name.decode(): value.decode() for name, value in response.headers}
    assert response.status == status
    assert response.body is not None
    assert oracles.error(dialect, response.body) | said == oracles.error(dialect, response.body)
    assert headers.get("x-should-retry") == ("false" if error is SPENT else None)
    assert headers["retry-after"] == str(round(error.retry_after or 0))


def _call(dialect: ClientDialect, url: str) -> None:
    if dialect == "messages":
        with anthropic.Anthropic(api_key="k", base_url=url) as client:
            client.messages.create(model="m", messages=[{"role": "user", "content": "Hi"}], max_tokens=9)
        return
    with openai.OpenAI(api_key="k", base_url=f"{url}/v1") as client_:
        if dialect == "chat":
            client_.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
        else:
            client_.responses.create(model="m", input="Hi")


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
def test_an_sdk_does_not_ask_again_when_a_budget_is_spent(dialect: ClientDialect) -> None:
    told = error_response(Request(dialect=dialect), SPENT)
    calls: list[str] = []

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope["path"])
        await send({"type": "http.response.start", "status": told.status, "headers": told.headers})
        await send({"type": "http.response.body", "body": told.body})

    expected = anthropic.APIStatusError if dialect == "messages" else openai.RateLimitError
    with serve(gateway) as url, pytest.raises(expected) as raised:
        _call(dialect, url)

    assert len(calls) == 1
    assert raised.value.status_code == told.status
    assert "budget `lab` is spent" in str(raised.value)
