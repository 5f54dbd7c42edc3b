"""Names of models are shown, and credentials are not."""

from __future__ import annotations

import pytest

from plano.config.showing import is_harmless, shown, shown_key
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN

NAMES = [
    "o3",
    "gpt-4o-mini",
    "gpt-4o-2024-08-06",
    "claude-3-5-sonnet-20241022",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "accounts/fireworks/models/llama-v3p1-405b-instruct",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
    "Qwen/Qwen3-235B-A22B-Thinking-2507",
    "nvidia/llama-3.1-nemotron-ultra-253b-v1",
    "hermes-3-llama-3.1-405b:free",
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
    "ft:gpt-4o-mini-2024-07-18:acme::abc123",
    "mistral_7b_instruct_v0_3",
    "pplx-7b-online",
    "gemini-2.5-flash-preview-native-audio-dialog",
    "arch.summarize.v1",
    "team-1",
    "http://localhost:4317",
    "not an address",
]

CREDENTIALS = [
    "sk-1",
    "sk-ant-api03-abc_DEF-123",
    "sk_live_0123",
    "gsk_0123456789abcdef",
    "xai-0123456789abcdefABCDEF",
    "AIzaSyA0123456789",
    "AKIA0123456789ABCDEF",
    "ghp_0123456789abcdef",
    "nvapi-a1b2",
    "hf_AbCdEfGhIjKlMnOp0123",
    "pplx-0123456789abcdef",
    "Bearer abc",
    "eyJhbGciOiJIUzI1NiJ9.e30.x",
    "0123456789abcdef0123456789abcdef",
    "00112233-4455-6677-8899-aabbccddeeff",
    "0123456789abcdef0123456789abcdef.AbCdEf",
    "dGhpcyBpcyBhIGtleSBvZiBBenVyZTEyMw==",
    "postgres://user:pass@host/base",
    "https://host/v1?key=abc",
    "key-a-123456",
    "a passphrase of several words that is long",
    "x" * 33,
    "a-b." * 40,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown(name: str) -> None:
    assert (shown(name), shown_key(name)) == (f"`{name}`", name)


def test_every_model_of_the_catalogue_is_shown() -> None:
    names = [f"{name}/{model}" for name in CATALOGUE for model in ("*", *KNOWN.models.get(name, ()))]
    assert [name for name in names if not is_harmless(name) or not is_harmless(name.partition("/")[2])] == []


@pytest.mark.parametrize("text", CREDENTIALS)
def test_what_may_be_a_credential_is_only_described(text: str) -> None:
    assert (shown(text), shown_key(text)) == (f"text of {len(text)} characters", f"(text of {len(text)} characters)")


@pytest.mark.parametrize(("value", "said"), [({}, "a mapping"), ([1], "a list"), (None, "nothing"), (True, "`true`")])
def test_other_values_are_described(value: object, said: str) -> None:
    assert shown(value) == said
