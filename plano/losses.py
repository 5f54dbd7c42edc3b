"""Losses: the fields of a request or reply that the target's API cannot say, and the names they are counted under."""

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
"""Fields of a request in any of the three APIs, and a few that servers with a compatible API add."""

INNER_FIELDS = _words("""
    messages.annotations messages.audio messages.cache_control messages.citations messages.content messages.detail
    messages.document messages.image messages.name messages.redacted_thinking messages.refusal messages.role
    messages.status messages.thinking messages.tool_calls messages.tool_calls.arguments
    output_config.effort
    reasoning.context reasoning.display reasoning.effort reasoning.generate_summary reasoning.summary
    reply.annotations reply.audio reply.citations reply.container reply.content reply.context_management reply.document
    reply.image reply.logprobs reply.reasoning reply.redacted_thinking reply.refusal reply.service_tier reply.status
    reply.stop_sequence reply.system_fingerprint reply.thinking reply.tool_calls reply.tool_calls.arguments
    system.cache_control system.citations system.content system.name system.x-anthropic-billing-header
    tool_result.cache_control tool_result.is_error
    tools.allowed_callers tools.cache_control tools.defer_loading tools.format tools.input_examples tools.name
    tools.strict tools.type
""")
"""Fields inside messages, tools and replies."""

LOSS_FIELDS = REQUEST_FIELDS | INNER_FIELDS
"""The names under which losses are counted. A loss's field may hold what a client made up; these cannot."""


NAMED = 20
"""Losses of fields that a client made up that are named; of those that an API has there are only so many."""

_LONGEST_NAME = 80

_LONGEST_REASON = 200


class Loss(Struct, frozen=True):
    """A field that the target's API cannot say. `field` is a path in the client's words where it is
    one (`top_k`, `tools.cache_control`); array positions are left out, so that there are few of them.
    `count` is more than 1 for the one that stands for all that are not named."""

    field: str
    reason: str
    count: int = 1


class Losses:
    """Collects what a codec could not write. Each field is reported once.

    A request may have any number of fields that a client made up. They are all counted, and the first `NAMED` of them
    named; names and reasons are shortened. The length is the count.
    """

    __slots__ = ("_made_up", "_named", "_seen")

    def __init__(self) -> None:
        self._named: list[Loss] = []
        self._seen: set[int] = set()  # hashes: the names may be long
        self._made_up = 0  # of those that are named

    def drop(self, field: str, reason: str) -> None:
        """Leave the field out and say so."""
        name = hash(field)
        if name in self._seen:
            return
        self._seen.add(name)
        if field not in LOSS_FIELDS:
            if self._made_up == NAMED:
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
    """The error to raise for what cannot be left out without changing the meaning."""
    reason = _short(reason, _LONGEST_REASON)  # some quote what a client chose
    return UnsupportedConversion(f"`{field}` cannot be translated: {reason}", param=field)
