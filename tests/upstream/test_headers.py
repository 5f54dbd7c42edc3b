"""Which of a client's headers an upstream sees, and which of an upstream's headers the client sees."""

from __future__ import annotations

from typing import Any

import pytest

from plano.dialects import CODECS
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer
from tests.test_promises import create, entry, gateway

CLIENTS = "of-the-client"
UPSTREAMS = "of-the-upstream"

ALWAYS = "always"
SAME = "to an upstream of the client's own dialect"
OWN_KEY = "where the caller's own key goes up too"
NEVER = "never"

NEVER_UP = """
accept accept-encoding accept-language anthropic-beta-made-up anthropic-dangerous-direct-browser-access api-version
cache-control cf-connecting-ip connection content-type cookie cookie2 expect forwarded from host
http-referer made-up openai-version origin proxy-authorization referer session_id te true-client-ip upgrade user-agent
via x-amz-security-token x-client-request-id x-forwarded-for x-forwarded-host x-forwarded-proto x-http-method-override
x-made-up x-original-url x-plano-strict x-real-ip x-stainless-lang x-stainless-retry-count x-title
"""

UP = dict.fromkeys(NEVER_UP.split(), NEVER) | {
    "idempotency-key": ALWAYS,
    "traceparent": ALWAYS,
    "tracestate": ALWAYS,
    "x-request-id": ALWAYS,
    "anthropic-beta": SAME,
    "anthropic-version": SAME,
    "openai-beta": SAME,
    "chatgpt-account-id": OWN_KEY,
    "openai-organization": OWN_KEY,
    "openai-project": OWN_KEY,
    "originator": OWN_KEY,
}
"""A request header, and when it goes up."""

KEYS = {"authorization": f"Bearer {CLIENTS}", "x-api-key": CLIENTS, "api-key": CLIENTS}


def went_up(provider: FakeProvider) -> set[str]:
    return {name.decode() for name, value in provider.last.raw_headers if CLIENTS.encode() in value}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("own_key", [False, True], ids=["the entry's key", "the caller's key"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_request_headers_go_up_by_the_table(
    client: Dialect, upstream: Dialect, own_key: bool, stream: bool
) -> None:
    provider = FakeProvider()
    more: dict[str, Any] = {"access_key": None, "passthrough_auth": True} if own_key else {}
    app = gateway(provider, entry(upstream, **more))
    when = {ALWAYS} | ({SAME} if client == upstream else set()) | ({OWN_KEY} if own_key else set())
    expected = {name for name, rule in UP.items() if rule in when}
    for names in [list(UP), *([name] for name in UP)]:
        answer = await create(app, client, f"{upstream}_server/m", dict.fromkeys(names, CLIENTS), stream=stream)
        assert answer.status == 200
        assert went_up(provider) == expected & set(names)


@pytest.mark.parametrize("own_key", [False, True], ids=["the entry's key", "the caller's key"])
@pytest.mark.parametrize("header", KEYS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_callers_key_goes_up_only_where_the_entry_says_so(
    client: Dialect, upstream: Dialect, header: str, own_key: bool
) -> None:
    provider = FakeProvider()
    more: dict[str, Any] = {"access_key": None, "passthrough_auth": True} if own_key else {}
    app = gateway(provider, entry(upstream, **more))
    assert (await create(app, client, f"{upstream}_server/m", {header: KEYS[header]})).status == 200
    where = "x-api-key" if upstream == "messages" else "authorization"
    assert went_up(provider) == ({where} if own_key else set())


SEEN = "openai-processing-ms openai-version request-id retry-after retry-after-ms x-request-id"
OF_THE_KEY = """
anthropic-ratelimit-made-up anthropic-ratelimit-requests-remaining x-ratelimit-limit-requests x-ratelimit-made-up
x-ratelimit-reset-tokens x-should-retry
"""
UNSEEN = """
access-control-allow-origin age alt-svc anthropic-organization-id authorization cache-control cf-cache-status cf-ray
clear-site-data connection content-disposition content-encoding content-length content-security-policy date etag
keep-alive link location made-up nel openai-organization proxy-authenticate refresh report-to server server-timing
set-cookie strict-transport-security trailer transfer-encoding upgrade vary via www-authenticate x-accel-buffering
x-amzn-requestid x-api-key x-envoy-upstream-service-time x-groq-region x-internal-host x-made-up x-plano-dropped
x-plano-model x-powered-by x-ratelimit x-robots-tag
"""
DOWN = {name: rule for rule, names in ((ALWAYS, SEEN), (OWN_KEY, OF_THE_KEY), ("", UNSEEN)) for name in names.split()}
"""A header of an upstream's response, and when the client sees it."""


IDS = {"request-id", "x-request-id"}
"""Either stands for the other: a client sees one id."""


def seen(names: list[str], client: Dialect, own_key: bool) -> set[str]:
    """The headers that come down where the upstream sent those of `names`."""
    found = {name for name in names if DOWN[name] == ALWAYS or (own_key and DOWN[name] == OWN_KEY)}
    if found & IDS:
        found |= IDS if client == "messages" else {"x-request-id"}
    return found


def came_down(answer: Answer) -> set[str]:
    return {name for name, value in answer.headers.items() if UPSTREAMS in value}


@pytest.mark.parametrize("own_key", [False, True], ids=["the entry's key", "the caller's key"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [200, 400, 429, 500])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_response_headers_come_down_by_the_table(
    client: Dialect, upstream: Dialect, status: int, stream: bool, own_key: bool
) -> None:
    provider = FakeProvider()
    more: dict[str, Any] = {"access_key": None, "passthrough_auth": True} if own_key else {}
    app = gateway(provider, entry(upstream, **more))
    for names in [list(DOWN), *([name] for name in DOWN)]:
        headers = dict.fromkeys(names, UPSTREAMS)
        if status == 200:
            if IDS & set(names):
                headers[CODECS[upstream].conventions.request_id] = UPSTREAMS  # in place of the provider's own
            provider.reply("Hello", headers=headers)
        else:
            provider.fail(status, "No.", headers=headers)
        answer = await create(app, client, f"{upstream}_server/m", stream=stream)
        assert answer.status == status
        assert came_down(answer) == seen(list(headers), client, own_key)
        kind = "text/event-stream" if stream and status == 200 else "application/json"
        assert answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(("said", "told"), [("false", "false"), ("true", None)])
async def test_only_the_advice_not_to_repeat_comes_down(client: Dialect, said: str, told: str | None) -> None:
    provider = FakeProvider()
    app = gateway(provider, entry("chat"))
    provider.fail(409, "No.", headers={"x-should-retry": said})
    answer = await create(app, client, "chat_server/m")
    assert (answer.status, answer.headers.get("x-should-retry")) == (409, told)
