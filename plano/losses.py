"""The names under which losses are counted. A loss's field may hold what a client made up; these cannot."""

from __future__ import annotations


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
