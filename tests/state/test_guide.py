"""Every example of docs/state.md: configurations, URLs, Python and SQL."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plano import Plano
from plano.config import load
from plano.state import Item, StateSettings, open_store
from plano.types import Secret
from tests.asgi import ask
from tests.documents import ROOT, examples
from tests.servers import Redis
from tests.state.conftest import OpenState
from tests.state.failing import turn

GUIDE = "docs/state.md"
CONFIGURATIONS = examples(GUIDE, "yaml")
URLS = re.findall(r"^\| `((?:\w+\+?\w+)://[^`]*)`", (ROOT / GUIDE).read_text(), re.MULTILINE)


async def continues(app: Plano) -> bool:
    """Whether a second turn finds the first."""
    body = {"model": "demo/echo", "input": "Hi"}
    first = await ask(app, "POST", "/v1/responses", body)
    assert first.status == 200, first.body
    second = await ask(app, "POST", "/v1/responses", body | {"previous_response_id": first.json()["id"]})
    return second.status == 200 and "x-plano-stored" not in second.headers


def test_there_is_an_example_of_each_store() -> None:
    assert re.findall(r"type: (\w+)", "".join(CONFIGURATIONS)) == ["memory", "sqlite", "redis", "postgres"]


@pytest.mark.parametrize("example", CONFIGURATIONS)
async def test_a_configuration_keeps_conversations(
    example: str, redis_server: Redis, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("DATABASE_URL", schema)
    file = tmp_path / "plano_config.yaml"
    file.write_text("model_providers: [{model: demo/echo}]\n" + example.replace("/var/lib/plano", str(tmp_path)))
    app = Plano(load(file))
    assert await continues(app)
    await app.aclose()


def test_the_table_of_urls_names_each_kind() -> None:
    kinds = {url.partition("://")[0] for url in URLS}
    assert kinds == {"redis", "rediss", "unix", "redis+sentinel", "redis+cluster"}


@pytest.mark.parametrize("url", URLS)
async def test_a_url_is_one_that_the_store_takes(url: str) -> None:
    url = url.replace("...", "user:password@host:6379/0")
    await open_store(StateSettings(type="redis", url=Secret(url))).aclose()


async def test_with_the_store_above_them_filters_see_the_history() -> None:
    [example] = examples(GUIDE, "python")
    names: dict[str, Any] = {}
    exec(example, names)
    assert await continues(names["app"])
    seen: list[int] = []

    async def counts(request: Any, call_next: Any) -> Any:
        seen.append(len(request.conversation.messages))
        return await call_next(request)

    app = Plano({"model_providers": [{"model": "demo/echo"}]}, filters=[counts], order=names["order"])
    assert await continues(app)
    assert seen == [1, 3]
    for one in (app, names["app"]):
        await one.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_whole_tenant_is_deleted_and_no_other(open_state: OpenState, where: dict[str, Any], kind: str) -> None:
    [example] = examples(GUIDE, "sql")
    store = open_state()
    for tenant in ("acme", "other"):
        await store.put(tenant, turn("one"))
        await store.create_conversation(tenant, "conv", b"head", [Item("a", b"payload")])
    if kind == "sqlite":
        with sqlite3.connect(where["path"]) as file:
            file.executescript(example)
        file.close()
    else:
        with psycopg.connect(where["connection_string"].reveal()) as connection:
            connection.execute(re.sub(r"\bFROM (\w+)", r"FROM plano_\1", example))

    assert await store.get("acme", "one") is None
    assert await store.get_conversation("acme", "conv") is None
    assert await store.get("other", "one") is not None
    page = await store.list_items("other", "conv")
    assert page is not None
    assert len(page.items) == 1
