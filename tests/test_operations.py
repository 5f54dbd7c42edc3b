"""An operation that is passed through is a row, and the providers' paths."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from plano import CallNext, Plano, Request, Response
from plano.operations import OPERATIONS, Operation
from plano.provider import Provider
from plano.routing.models import Entry, ModelIndex
from plano.types import Secret
from tests.asgi import Answer, ask
from tests.documents import ROOT

PLANOS_OWN = tuple(OPERATIONS.values())
ORDER = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
REPLY = b'{"results":[{"index":1,"score":0.5}],"usage":{"prompt_tokens":5,"total_tokens":5},"extra" : 1}'
ASKED = {"model": "m", "query": "q", "documents": ["a", "b"], "stream": False}


@pytest.fixture(autouse=True)
def rerank() -> Iterator[None]:
    OPERATIONS["rerank"] = Operation(  # type: ignore[index]
        name="rerank", paths={"chat": "/v1/rerank"}, gen_ai="rerank", reply_has="results"
    )
    yield
    del OPERATIONS["rerank"]  # type: ignore[attr-defined]


async def asked(body: bytes, paths: dict[str, str], status: int = 200) -> tuple[Answer, str, list[httpx.Request]]:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(status, headers={"content-type": "application/json"}, content=body)

    row = Provider(
        name="openai",
        base_url="https://row.test",
        paths={"chat": "/chat/completions"},
        operations={("chat", name): path for name, path in paths.items()},
    )
    entry = Entry(provider=row, model="big", name="openai/m", key=Secret("sk-row"))

    async def to_it(request: Request, call_next: CallNext) -> Response:
        assert request.operation == "rerank"
        assert request.conversation.messages == ()
        return await call_next(request.replace(target=ModelIndex([entry]).resolve("openai/big")))

    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[to_it], order=ORDER, transport=httpx.MockTransport(answer))
    found = await ask(gateway, "POST", "/v1/rerank", ASKED)
    metrics = (await ask(gateway, "GET", "/metrics")).body.decode()
    await gateway.aclose()
    return found, metrics, sent


async def test_it_goes_through_as_it_is_and_is_counted() -> None:
    answer, metrics, (sent,) = await asked(REPLY, {"rerank": "/v2/rerank"})
    assert (answer.status, answer.body) == (200, REPLY)
    assert str(sent.url) == "https://row.test/v1/v2/rerank"
    assert json.loads(sent.content) == ASKED | {"model": "big"}
    assert sent.headers["authorization"] == "Bearer sk-row"
    requests = next(line for line in metrics.splitlines() if line.startswith("plano_requests_total{"))
    assert 'client_dialect="chat",operation="rerank"' in requests
    tokens = [line for line in metrics.splitlines() if line.startswith("gen_ai_client_token_usage_sum{")]
    assert ['gen_ai_operation_name="rerank"' in line for line in tokens] == [True] * len(tokens)
    assert any('gen_ai_token_type="input"' in line and line.endswith(" 5.0") for line in tokens)


async def test_a_provider_without_it_is_named() -> None:
    answer, _, sent = await asked(REPLY, {})
    assert answer.status == 400
    assert "has no rerank API" in answer.json()["error"]["message"]
    assert sent == []


@pytest.mark.parametrize("body", [b'{"data":[]}', b'{"results":null}', b"[]"])
async def test_what_is_no_answer_to_it_is_the_upstreams_error(body: bytes) -> None:
    answer, _, _ = await asked(body, {"rerank": "/rerank"})
    assert answer.status == 502


def test_every_row_is_found_by_its_name_and_paths_are_asked_for_once() -> None:
    assert all(name == row.name for name, row in OPERATIONS.items())
    paths = [path for row in OPERATIONS.values() for path in row.paths.values()]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(
    ("document", "row"),
    [
        ("filters.md", "| `request.operation` |"),
        ("observability.md", "| `operation` |"),
        ("observability.md", "| `gen_ai_operation_name` |"),
        ("testing.md", "| `dialect`, `operation` |"),
    ],
)
def test_the_documents_name_every_operation(document: str, row: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    (said,) = [line for line in text.splitlines() if line.startswith(row)]
    names = {each.gen_ai if "gen_ai" in row else each.name for each in PLANOS_OWN}
    assert {name for name in names if f"`{name}`" not in said} == set()
