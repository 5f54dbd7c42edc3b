"""What upstreams do wrong, as those who operate plano and those who call it see it."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from plano import Plano
from plano.errors import ConfigError
from plano.testing import FakeProvider
from plano.types import DIALECTS, Dialect
from plano.upstream import MAX_REPLY
from tests import oracles
from tests.asgi import Answer, ask
from tests.scraping import scrape
from tests.servers import free_port
from tests.test_pairs import PATHS, config
from tests.test_vendor_rules import asked_in
from tests.transport.wire import Server, answering, no_descriptors, reply

KEY = "sk-upstream"
"""Of the entries in `config`."""


def entry(url: str, **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": "openai/m", "access_key": KEY, "base_url": url, **more}]}


async def answered(client: Dialect, said: bytes, *, stream: bool = False) -> Answer:
    """What a client gets when the upstream's server says `said`."""
    async with Server() as server:
        server.plays(answering(said))
        app = Plano(entry(f"{server.url}/v1"))
        answer = await ask(app, "POST", PATHS[client], asked_in(client, model="openai/m") | {"stream": stream})
        await app.aclose()
        return answer


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_why_an_upstream_cannot_be_reached_is_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Plano(entry(f"http://127.0.0.1:{free_port()}/v1"))
    body = asked_in("chat", model="openai/m")
    for _ in range(3):
        assert (await ask(app, "POST", PATHS["chat"], body)).status == 502
    (line,) = warnings(caplog)
    assert line.startswith("openai/m: The upstream could not be reached. (")
    assert "111" in line  # ECONNREFUSED
    monkeypatch.setattr("plano.upstream.LOG_EVERY", 0.0)
    app._observing.finished.flush()
    caplog.clear()
    other = Plano(entry(f"http://127.0.0.1:{free_port()}/v1"))
    for _ in range(2):
        await ask(other, "POST", PATHS["chat"], body)
    assert len(warnings(caplog)) == 2
    for each in (app, other):
        await each.aclose()


@pytest.mark.parametrize("client", DIALECTS)
async def test_out_of_descriptors_is_the_gateways_own_fault_and_logged_once_in_a_while(
    client: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    async with Server() as server:
        app = Plano(entry(f"{server.url}/v1"))
        with no_descriptors():
            answers = [await ask(app, "POST", PATHS[client], asked_in(client, model="openai/m")) for _ in range(3)]
        found = await scrape(app)
        await app.aclose()
        assert server.opened == 0
    for answer in answers:
        assert answer.status == 503
        assert oracles.error(client, answer.body)["message"] == "The gateway cannot open more connections."
    (line,) = warnings(caplog)
    assert line.startswith(
        "openai/m: The gateway cannot open more connections. (OSError: [Errno 24] Too many open files"
    )
    assert found.of("plano_upstream_errors_total") == 0


async def test_a_certificate_that_is_not_trusted_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with Server() as server:
        await server.listen(tls=context)
        app = Plano(entry(f"https://localhost:{server.port}/v1"))
        answer = await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"))
        await app.aclose()
    assert answer.status == 502
    assert b"certificate verify failed" not in answer.body
    (line,) = warnings(caplog)
    assert "certificate verify failed" in line


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_key_that_an_upstream_repeats_goes_no_further(
    client: Dialect, upstream: Dialect, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    provider = FakeProvider()
    said = {"message": f"Incorrect API key provided: {KEY}.", "type": "invalid_request_error"}
    openais = {"error": {**said, "param": None, "code": None}}
    body = json.dumps({"type": "error", "error": said} if upstream == "messages" else openais).encode()
    provider.raw(status, {"content-type": "application/json"}, body)
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{upstream}/m-1"))
    assert answer.status == (502 if status == 401 else status)
    oracles.error(client, answer.body)
    assert KEY.encode() not in answer.body
    assert KEY not in caplog.text
    if status != 401:
        assert b"Incorrect API key provided: ***." in answer.body


@pytest.mark.parametrize("client", DIALECTS)
async def test_what_is_no_status_is_a_bad_gateway(client: Dialect) -> None:
    provider = FakeProvider()
    provider.raw(999, {"content-type": "application/json"}, b"{}")
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model="fake_chat/m-1"))
    assert answer.status == 502
    oracles.error(client, answer.body)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
async def test_a_small_reply_that_becomes_a_large_one_is_not_taken_whole(
    client: Dialect, kind: bytes, status: bytes
) -> None:
    bomb = gzip.compress((b":" + bytes(1021) + b"\n\n") * (MAX_REPLY // 1024 + 1))
    assert len(bomb) < MAX_REPLY // 100
    answer = await answered(client, reply(bomb, b"content-type: " + kind, b"content-encoding: gzip", status=status))
    assert answer.status == 502
    oracles.error(client, answer.body)
    assert b"longer than %d bytes" % MAX_REPLY in answer.body


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_in_a_coding_that_is_not_undone_is_refused_in_words(client: Dialect, stream: bool) -> None:
    kind = b"text/event-stream" if stream else b"application/json"
    said = reply(b"\x0b\x02\x80{}\x03", b"content-type: " + kind, b"content-encoding: br")
    answer = await answered(client, said, stream=stream)
    assert b"compressed in a way that was not asked for" in answer.body
    assert answer.status == 502


@pytest.mark.parametrize("said", ["text/plain", "application/octet-stream", None])
async def test_what_plano_wrote_is_called_json(said: str | None) -> None:
    reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    provider = FakeProvider()
    headers = {} if said is None else {"content-type": said}
    provider.raw(200, headers, json.dumps(reply | {"choices": [choice]}).encode())
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS["messages"], asked_in("messages", model="fake_chat/m-1"))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("more", "environment", "said"),
    [
        ({"overrides": {"upstream_tls_ca_path": "{junk}"}}, {}, "TLS files cannot be loaded"),
        ({"proxy": "http://127.0.0.1:abc"}, {}, "proxy"),
        ({}, {"HTTPS_PROXY": "http://127.0.0.1:abc"}, "proxy's URL cannot be used"),
        ({}, {"ALL_PROXY": "socks5://127.0.0.1:1"}, "not installed"),
    ],
    ids=["authority", "proxy", "proxy of the environment", "SOCKS without its package"],
)
def test_what_no_request_could_be_sent_with_is_said_at_the_start(
    more: dict[str, Any],
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    overrides = {name: value.format(junk=junk) for name, value in more.get("overrides", {}).items()}
    asked = entry("https://upstream.test/v1", **{name: value for name, value in more.items() if name != "overrides"})
    with pytest.raises(ConfigError, match=said):
        Plano({**asked, "overrides": overrides} if overrides else asked)
