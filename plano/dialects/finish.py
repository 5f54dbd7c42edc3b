"""Finish reasons, read: the words of the chat and messages APIs, and those of vendors.

Vendors with a compatible API end replies in words of their own, or pass on those of the API behind them. A reply that
ends in an unknown word counts as stopped. Its extras keep the word, so that another API reports it as a loss. If such a
reply is empty, it is a failure.
"""

from __future__ import annotations

from msgspec import Raw

from plano.conversation import Finish
from plano.dialects.fields import raw_of
from plano.errors import UpstreamStatus

REASONS: dict[str, Finish] = {
    # The words of the APIs themselves; servers were seen to pass on those of another API behind them.
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_window",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
    "compaction": "pause",
    "max_output_tokens": "length",
    # The model stopped: Together (`eos`), Text Generation Inference (`eos_token`), Baidu (`normal`), Cohere.
    "eos": "stop",
    "eos_token": "stop",
    "normal": "stop",
    "complete": "stop",
    "tool_call": "tool_calls",
    # Cut: IBM watsonx (TextChatResultChoice: `time_limit`), vLLM (FINISH_REASON_STRINGS: `repetition`).
    "time_limit": "length",
    "repetition": "length",
    # A full window: Mistral (`model_length`), MiniMax (`max_output`), SenseNova (`context`), Cohere (`error_limit`).
    "context_length_exceeded": "context_window",
    "model_length": "context_window",
    "max_output": "context_window",
    "context": "context_window",
    "error_limit": "context_window",
    # A filter: Zhipu and SenseNova (`sensitive`), Bedrock, Cohere (`error_toxic`), Gemini (FinishReason).
    "sensitive": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "error_toxic": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "language": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
}
"""Words that end a reply, in lower case."""

FAILURES: dict[str, int] = {
    "error": 502,  # Mistral (CompletionResponseStreamChoiceFinishReason), OpenRouter, vLLM, watsonx
    "network_error": 502,  # Zhipu (BerriAI/litellm#23386)
    "insufficient_system_resource": 503,  # DeepSeek, "Create Chat Completion"
    "abort": 502,  # vLLM and SGLang
    "aborted": 502,  # DeepSeek
    "cancelled": 502,  # watsonx
    "user_cancel": 502,  # Cohere
    "function_call_filter": 502,  # Gemini's compatible API, with the word of its own after a colon
    "malformed_function_call": 502,  # Gemini (FinishReason), as are the next two
    "unexpected_tool_call": 502,
    "too_many_tool_calls": 502,
}
"""Words that mean a failure, in lower case, and the status of the error that each becomes."""


def plain(word: str | None) -> str:
    """A word in lower case, without what Gemini's compatible API adds to its own (`content_filter: RECITATION`)."""
    return (word or "").partition(":")[0].strip().lower()


def fails(word: str | None) -> bool:
    """Whether a finish reason means a failure."""
    return plain(word) in FAILURES


def failure(word: str | None) -> UpstreamStatus | None:
    """The error of a reply that ends in this word, or None if the word means no failure."""
    status = FAILURES.get(plain(word))
    if status is None:
        return None
    called = "an error" if word == "error" else f"the error `{_short(word)}`"
    error = _error(f"The upstream ended the reply with {called}.", status)
    error.failure = "overloaded" if status == 503 else None
    return error


def silent(word: str | None) -> UpstreamStatus:
    """The error of a reply in which nothing was said, and which ended in an unknown word."""
    return _error(f"The upstream's reply is empty and ended with `{_short(word)}`.", 502)


def _error(message: str, status: int) -> UpstreamStatus:
    return UpstreamStatus(message, status=status, kind="overloaded" if status == 503 else "upstream")


def _short(word: str | None) -> str:
    return (word or "")[:80]


def read_finish(word: str | None, *, called: bool) -> Finish:
    """Read a finish reason that is no failure.

    Args:
        word: as the upstream wrote it; None, empty and unknown words count as `stop`.
        called: whether the reply holds tool calls. Many servers say `stop` for those too.
    """
    finish = REASONS.get(plain(word), "stop")
    return "tool_calls" if called and finish == "stop" else finish


def is_unknown(word: str | None) -> bool:
    """Whether an upstream gave a finish reason that stands in no table."""
    return bool(plain(word)) and plain(word) not in REASONS and plain(word) not in FAILURES


def kept(word: str | None, field: str) -> dict[str, Raw]:
    """An unknown word under the name of the `field` that it came in, for a reply's extras. Nothing for other words."""
    return {field: raw_of(word)} if is_unknown(word) else {}
