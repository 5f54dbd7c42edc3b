"""Losses: fields of a request or reply that the target's API cannot say, and the names that they are counted by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Raw, Struct

from plano.errors import UnsupportedConversion
from plano.types import Dialect, UpstreamDialect


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


REQUEST_FIELDS = _words("""
    access_programs audio background background_options betas cache_control compaction container context_management
    conversation diagnostics fallbacks frequency_penalty function_call functions image include inference_geo input
    instructions logit_bias logprobs max_completion_tokens max_output_tokens max_tokens max_tool_calls mcp_servers
    messages metadata min_p modalities moderation n output_config parallel_tool_calls prediction presence_penalty
    previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning reasoning_effort
    reasoning_format repetition_penalty response_format safety_identifier safety_settings seed service_tier speed stop
    stop_sequences store stream_options system temperature text thinking thread tool_choice tools top_a top_k
    top_logprobs top_p truncation user user_profile_id verbosity web_search_options workspace_id
""")
"""The request fields of all three APIs, and a few that servers with a compatible API add."""

INNER_FIELDS = _words("""
    messages.annotations messages.audio messages.cache_control messages.citations messages.content messages.detail
    messages.document messages.extra_content messages.image messages.name messages.redacted_thinking
    messages.refusal messages.role messages.status messages.thinking messages.tool_calls
    messages.tool_calls.arguments messages.tool_calls.extra_content messages.tool_reference
    output_config.effort
    reasoning.context reasoning.display reasoning.effort reasoning.generate_summary reasoning.summary
    reply.annotations reply.audio reply.citations reply.container reply.content reply.context_management reply.document
    reply.finish_reason reply.image reply.logprobs reply.reasoning reply.redacted_thinking reply.refusal
    reply.service_tier reply.status reply.stop_reason reply.stop_sequence reply.system_fingerprint reply.thinking
    reply.tool_calls reply.tool_calls.arguments
    system.cache_control system.citations system.content system.name system.x-anthropic-billing-header
    tool_result.cache_control tool_result.is_error
    tools.allowed_callers tools.cache_control tools.defer_loading tools.format tools.input_examples tools.name
    tools.blocked_domains tools.max_uses tools.parameters tools.search_context_size tools.strict tools.type
""")
"""The fields inside messages, tools and replies."""

LOSS_FIELDS = REQUEST_FIELDS | INNER_FIELDS
"""The names by which losses are counted. A client can make up field names, but not these."""


MAX_NAMED = 20
"""The number of made-up fields that are reported by name. The fields that an API has need no such limit."""

_LONGEST_NAME = 80

_LONGEST_REASON = 200


class Loss(Struct, frozen=True):
    """A field that the target's API cannot say.

    Attributes:
        field: its path as the client spells it (`top_k`, `tools.cache_control`), without positions in arrays, so that
            there are few different paths.
        reason: why it was left out.
        count: 1, or more for the one loss that stands for all unnamed ones.
    """

    field: str
    reason: str
    count: int = 1


class Losses:
    """The fields that a codec could not write, each reported once.

    A client can make up any number of fields. All of them are counted (`len`), and the first `MAX_NAMED` of them are
    named. Names and reasons are shortened.
    """

    __slots__ = ("_made_up", "_named", "_seen")

    def __init__(self) -> None:
        self._named: list[Loss] = []
        self._seen: set[int] = set()  # hashes: the names may be long
        self._made_up = 0  # the number of made-up fields that are named

    def drop(self, field: str, reason: str) -> None:
        """Report that `field` is left out."""
        name = hash(field)
        if name in self._seen:
            return
        self._seen.add(name)
        if field not in LOSS_FIELDS:
            if self._made_up == MAX_NAMED:
                return
            self._made_up += 1
        self._named.append(Loss(_short(field, _LONGEST_NAME), _short(reason, _LONGEST_REASON)))

    def drop_extras(
        self, extras: Mapping[Dialect, Mapping[str, Raw]], target: UpstreamDialect, prefix: str = ""
    ) -> None:
        """Report everything in `extras` that belongs to another dialect than `target`."""
        for dialect, fields in extras.items():
            if dialect != target:
                for field in fields:
                    self.drop(prefix + field, f"only the {dialect} API has it")

    def __iter__(self) -> Iterator[Loss]:
        yield from self._named
        more = len(self._seen) - len(self._named)
        if more:
            yield Loss(f"and {more} more", "no API has them", more)

    def __len__(self) -> int:
        return len(self._seen)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def refuse(field: str, reason: str) -> UnsupportedConversion:
    """The error to raise for a field that cannot be left out without changing the request's meaning."""
    reason = _short(reason, _LONGEST_REASON)  # some quote text that a client chose
    return UnsupportedConversion(f"`{field}` cannot be translated: {reason}", param=field)
