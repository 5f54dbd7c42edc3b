"""Requests and the context windows of models."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from plano import Request
from plano.providers import CATALOGUE, windows
from plano.routing.models import Entry, ModelIndex
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from plano.upstream.windows import estimated, fits, larger
from tests.test_vendor_rules import asked_in
from tests.upstream.through import row, target_of

IMAGE = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}


def asking(dialect: Dialect, words: int, **more: Any) -> Request:
    """A request of about so many tokens."""
    content = "input" if dialect == "responses" else "messages"
    said = [{"role": "user", "content": "word" * words}]
    return Request(dialect=dialect, model="m", raw=json.dumps(asked_in(dialect) | {content: said} | more).encode())


@pytest.mark.parametrize(
    ("words", "window", "expected"),
    [
        (10, 8_000, True),
        (7_000, 8_000, True),
        (9_000, 8_000, False),
        (9_000, 16_000, True),
        (120_000, 128_000, True),
        (140_000, 128_000, False),
        (140_000, None, True),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_fits_into_a_window_that_is_large_enough_or_not_known(
    dialect: Dialect, words: int, window: int | None, expected: bool
) -> None:
    assert fits(asking(dialect, words), target_of(row(), context_window=window)) is expected


def test_an_image_behind_a_url_counts_for_more_than_its_bytes() -> None:
    images = [{"role": "user", "content": [IMAGE] * 6}]
    request = asking("chat", 0, messages=images)
    assert len(request.raw) < 8_000
    assert not fits(request, target_of(row(), context_window=8_000))
    assert fits(request, target_of(row(), context_window=16_000))


def test_a_short_request_is_not_read() -> None:
    request = Request(dialect="chat", model="m", raw=b'{"messages": 1}')
    assert fits(request, target_of(row(), context_window=8_000))
    assert vars(request) == {}


def test_a_long_request_is_read_once() -> None:
    request = asking("chat", 9_000)
    first = estimated(request)
    del request.__dict__["conversation"]
    assert not fits(request, target_of(row(), context_window=8_000))
    assert fits(request, target_of(row(), context_window=first))
    assert "conversation" not in vars(request)


@pytest.mark.parametrize(
    "request_",
    [
        Request(dialect="chat", raw=b'{"messages": 1, "a": "%b"}' % (b"a" * 9000)),
        Request(dialect="chat", raw=b"[" * 9000),
    ],
)
def test_a_request_that_cannot_be_read_is_worth_an_attempt(request_: Request) -> None:
    assert fits(request_, target_of(row(), context_window=8_000))


def test_embeddings_have_no_window_of_a_conversation() -> None:
    raw = json.dumps({"model": "m", "input": ["word" * 100] * 1000}).encode()
    assert fits(Request(dialect="chat", raw=raw, operation="embeddings"), target_of(row(), context_window=8_000))


@pytest.mark.parametrize(
    ("window", "failed", "expected"),
    [(200, 100, True), (100, 100, False), (50, 100, False), (None, 100, True), (50, None, True), (None, None, True)],
)
def test_after_a_full_window_only_a_larger_one_is_worth_an_attempt(
    window: int | None, failed: int | None, expected: bool
) -> None:
    assert larger(target_of(row(), context_window=window), target_of(row(), context_window=failed)) is expected


@pytest.mark.parametrize(
    ("provider", "model", "window"),
    [
        ("openai", "gpt-4o", 128_000),
        ("openai", "gpt-4o-2024-08-06", 128_000),
        ("openai", "gpt-4o-audio-preview", None),
        ("openai", "gpt-4", 8_192),
        ("openai", "gpt-4.1", 1_047_576),
        ("openai", "gpt-5-mini-2025-08-07", 400_000),
        ("openai", "gpt-99", None),
        ("azure_openai", "gpt-4o", 128_000),
        ("anthropic", "claude-sonnet-4-20250514", 200_000),
        ("anthropic", "claude-sonnet-4-5-20250929", 200_000),
        ("anthropic", "claude-sonnet-4-6", 1_000_000),
        ("anthropic", "claude-sonnet-4-99", None),
        ("groq", "openai/gpt-oss-120b", None),
    ],
)
def test_windows_of_models_are_known_by_their_ids(provider: str, model: str, window: int | None) -> None:
    more = {"base_url": "https://a.test"} if provider == "azure_openai" else {}
    entry = Entry(provider=CATALOGUE[provider], model="*", name=f"{provider}/*", **more)
    assert ModelIndex([entry]).resolve(f"{provider}/{model}").context_window == window


def test_an_entry_knows_its_window_best() -> None:
    assert target_of("openai", "gpt-4o", context_window=32_000).context_window == 32_000


def test_the_older_api_of_azure_knows_the_windows_too() -> None:
    adapt = CATALOGUE["azure_openai"].adapt
    assert adapt is not None
    assert adapt(urlsplit("https://a.test?api-version=2024-10-21")).window("gpt-4o") == 128_000


def test_the_file_says_how_old_it_is_and_where_it_is_from() -> None:
    said = json.loads(Path(windows.__file__).with_name("windows.json").read_bytes())
    assert date.fromisoformat(said["dated"]) >= date(2026, 11, 30)
    assert all(said["sources"])
    assert set(said["windows"]) <= set(CATALOGUE)
    assert all(1024 <= window <= 20_000_000 for rows in said["windows"].values() for window in rows.values())
