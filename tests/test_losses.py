"""The names by which losses are counted."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plano
from plano import CallNext, Plano, Request, Response
from plano.journal import Journal
from plano.losses import LOSS_FIELDS, MAX_NAMED, Losses
from plano.observability.access import Line
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests import oracles
from tests.asgi import ask
from tests.scraping import scrape
from tests.test_pairs import PATHS, config
from tests.test_vendor_rules import asked_in

CODECS = Path(plano.__file__).parent / "dialects"


def names_dropped(tree: ast.AST) -> Iterator[str]:
    """The names that are written out in calls of `drop`; all others are fields that a client wrote."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "drop":
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield first.value


def test_every_name_that_a_codec_writes_out_is_counted_under_itself() -> None:
    dropped = {name for file in CODECS.rglob("*.py") for name in names_dropped(ast.parse(file.read_text()))}
    assert len(dropped) > 20
    assert dropped - LOSS_FIELDS == set()


def test_no_codec_makes_up_a_name_from_what_a_client_chose() -> None:
    made = {
        ast.unparse(node.args[0])
        for file in CODECS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "drop"
        and isinstance(node.args[0], ast.JoinedStr)
    }
    assert made <= {
        "f'messages.{type(part).__name__.lower()}'",
        "f'reply.{type(part).__name__.lower()}'",
        "f'{prefix}cache_control'",
    }


# --- many of them ---------------------------------------------------------------------------------

MANY = 20_000
FIELDS: dict[str, Any] = {f"made_up_{n}_{'x' * 300}": n for n in range(MANY)}
PAIRS = [(client, upstream) for client in DIALECTS for upstream in DIALECTS if client != upstream]


def said(client: Dialect, upstream: Dialect, **more: Any) -> dict[str, Any]:
    return asked_in(client, model=f"fake_{upstream}/m-1", **more)


def test_each_is_counted_and_about_twenty_are_named() -> None:
    losses = Losses()
    for field in ("seed", *FIELDS, "seed", *FIELDS, "top_k"):
        losses.drop(field, "no room" * 1000)
    found = list(losses)
    assert len(losses) == sum(loss.count for loss in found) == MANY + 2
    assert [loss.field for loss in found[:2]] == ["seed", f"made_up_0_{'x' * 67}..."]
    assert [loss.field for loss in found[-2:]] == ["top_k", f"and {MANY - MAX_NAMED} more"]
    assert len(found) == MAX_NAMED + 3
    assert len(repr(found)) < 10_000


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize("inside", [False, True], ids=["top", "message"])
async def test_an_error_that_refuses_many_is_short_and_says_how_many(
    client: Dialect, upstream: Dialect, inside: bool
) -> None:
    turn = {"role": "user", "content": "Hello", **FIELDS}
    asked = said(client, upstream) | ({"input" if client == "responses" else "messages": [turn]} if inside else FIELDS)
    app = Plano(config("http://upstream.test"), transport=FakeProvider())
    answer = await ask(app, "POST", PATHS[client], asked, {"x-plano-strict": "true"})
    assert answer.status == 400
    oracles.error(client, answer.body)
    assert len(answer.body) < 6000
    assert f"; and {MANY - MAX_NAMED} more." in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
async def test_many_are_counted_everywhere_and_nowhere_listed(client: Dialect, upstream: Dialect, stream: bool) -> None:
    app = Plano(config("http://upstream.test") | {"ui": True}, transport=FakeProvider(keep=1))
    few = await ask(app, "POST", PATHS[client], said(client, upstream, stream=stream))
    answer = await ask(app, "POST", PATHS[client], said(client, upstream, stream=stream) | FIELDS)
    assert answer.status == 200
    usual = few.headers.get("x-plano-dropped", "")
    dropped = answer.headers["x-plano-dropped"]
    assert len(dropped) < 2000 + len(usual)
    assert f", and {MANY - MAX_NAMED} more" in dropped
    found = await scrape(app)
    assert found.of("plano_losses_total", field="other") == MANY
    data = await ask(app, "GET", "/ui/data")
    assert len(data.body) < 10_000
    assert data.json()["requests"][0]["losses"].count("other") == 1


async def test_they_are_all_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    app = Plano(config("http://upstream.test"), transport=FakeProvider())
    await ask(app, "POST", PATHS["chat"], said("chat", "messages") | FIELDS)
    await app.aclose()
    (line,) = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    assert line.losses == MANY


async def test_nothing_of_them_stays_with_the_request() -> None:
    kept: list[Journal] = []

    async def keep(request: Request, call_next: CallNext) -> Response:
        kept.append(request.journal)
        return await call_next(request)

    app = Plano(config("http://upstream.test"), transport=FakeProvider(keep=1), filters=[keep])
    await ask(app, "POST", PATHS["chat"], said("chat", "messages") | FIELDS)
    await app.aclose()
    (journal,) = kept
    assert sum(loss.count for loss in journal.losses) == MANY
    assert len(repr(journal.losses)) < 5000


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "x" * 1_000_000}}])
async def test_what_is_refused_is_not_quoted_at_length(choice: dict[str, Any]) -> None:
    app = Plano(config("http://upstream.test"), transport=FakeProvider())
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    answer = await ask(app, "POST", PATHS["chat"], said("chat", "messages", tools=tools, tool_choice=choice))
    assert len(answer.body) < 1000
