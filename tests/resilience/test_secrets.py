"""Keys of providers and callers stay in the gateway, whatever a provider says of them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeHosts, Reply
from plano.types import ClientDialect
from tests.asgi import ask
from tests.resilience.gateways import budget, rule, settled
from tests.test_pairs import PATHS
from tests.upstream.test_attempts import EVERY_WAY, STREAM, body, sse

POOLS = {host: [f"sk-{host}-{number}-planted/+secret" for number in range(2)] for host in ("a", "b")}
CALLERS = "caller-planted-secret"
JSON = {"content-type": "application/json"}


def gateway(hosts: FakeHosts) -> Plano:
    return Plano(
        {
            "model_providers": [
                {"model": "openai/a", "base_url": "http://a", "access_keys": POOLS["a"], "apis": ["chat"]},
                {"model": "anthropic/b", "base_url": "http://b", "access_keys": POOLS["b"]},
            ],
            "model_aliases": {"smart": {"target": "a", "fallbacks": ["b"]}},
            "resilience": {"max_attempts": 4},
            "auth": {"keys": [{"name": "app", "key": CALLERS}]},
            "ratelimits": [rule(requests=1000), rule(model="openai/a", tokens=100_000)],
            "budgets": [budget(tokens=1_000_000)],
            "ui": True,
        },
        transport=hosts,
    )


def error(text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"message": text, "type": "api_error", "code": text, "param": text}}


def said(keys: list[str]) -> dict[str, tuple[int, dict[str, str], bytes]]:
    """Answers that a provider could give, with the keys that it knows."""
    text = f"Bad keys: {', '.join(keys)}."
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "a"}
    delta = {**chunk, "choices": [{"index": 0, "delta": {"content": "text"}, "finish_reason": None}]}
    whole = json.dumps(error(text))
    headers = {**JSON, "x-request-id": keys[0], "retry-after": keys[1], "www-authenticate": keys[0]}
    return {
        **{str(status): (status, JSON, whole.encode()) for status in (400, 401, 402, 403, 404, 429, 500)},
        "escaped": (500, JSON, whole.replace("/", "\\/").replace("+", "\\u002b").encode()),
        "a page": (503, {"content-type": "text/html"}, f"<html><title>{text}</title>{text}</html>".encode()),
        "headers": (500, headers, b"{}"),
        "200 with an error": (200, JSON, whole.encode()),
        "200 that is no reply": (200, {"content-type": "text/html"}, text.encode()),
        "an error first": (200, STREAM, sse((None, error(text)))),
        "an error later": (200, STREAM, sse((None, delta), (None, error(text)))),
    }


@EVERY_WAY
@pytest.mark.parametrize("case", said(["", ""]))
async def test_53_no_key_of_any_pool_comes_out(
    case: str, dialect: ClientDialect, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hosts = FakeHosts("a", "b")
    app = gateway(hosts)
    for host in hosts:
        hosts[host].raw(*said(POOLS[host])[case])
    auth = {"authorization": f"Bearer {CALLERS}"}
    out: list[str] = []
    for _ in range(2):
        out.append(str(await ask(app, "POST", PATHS[dialect], body(dialect, stream), auth)))
    hosts["a"].script(Reply("fine"))
    hosts["b"].script(Reply("fine"))
    out.append(str(await ask(app, "POST", PATHS[dialect], body(dialect, stream), auth)))
    await settled(app)
    for path in ("/metrics", "/readyz", "/ui", "/ui/data", "/v1/models"):
        answer = await ask(app, "GET", path, headers=auth)
        assert answer.status == 200, (path, answer.body)
        out.append(str(answer))
    logged = [f"{record.msg} {record.args} {record.exc_text}" for record in caplog.records]
    assert logged
    sent = {recorded.headers.get("authorization") or recorded.headers["x-api-key"] for recorded in hosts["a"].requests}
    assert {each.removeprefix("Bearer ") for each in sent} & set(POOLS["a"]), "they were sent where they belong"
    for text in (*out, *logged, caplog.text):
        assert "planted" not in text
