"""Writes a request to an upstream."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.capabilities import Takes
from plano.conversation import Conversation, Message, System, Text, Tool, ToolChoice
from plano.dialects import reading, tool_schema, web_search
from plano.dialects.custom_tools import SCHEMA
from plano.dialects.fields import NULL, OBJECT, STRING, own
from plano.dialects.messages.schema import enforceable
from plano.dialects.messages.thinking import Plan, plan
from plano.dialects.messages.write_content import plain, write_parts
from plano.dialects.openai import refuse_stored
from plano.dialects.tool_schema import ANY_OBJECT
from plano.losses import Losses, refuse

_SERVICE_TIERS = {"auto": "auto", "default": "standard_only"}
_NO_SUCH_FIELD = "the messages API has no such field"
_LEAST_TOP_P = 0.95
"""The least `top_p` that the API takes while thinking is on ("Extended thinking", section "Feature compatibility")."""

_UNSUPPORTED_FIELDS = (
    "seed",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "verbosity",
    "prompt_cache_key",
    "metadata",
)


def write_request(conversation: Conversation, losses: Losses, takes: Takes | None = None) -> bytes:
    """Write the body of a request; see `plano.dialects.codec.Codec`."""
    if takes is not None and takes.searches is False:
        conversation = web_search.withheld(conversation, "messages")
    _refuse_what_has_no_substitute(conversation)
    _report_dropped(conversation, losses)
    system, messages = _placed(conversation, losses)
    planned = plan(conversation, losses, takes)
    extras = own(conversation.extras, "messages")
    body: dict[str, Any] = {}
    if conversation.model is not None:
        body["model"] = conversation.model
    body["max_tokens"] = planned.max_tokens
    if system:
        body["system"] = plain([_system_block(part, losses) for part in system])
    body["messages"] = _write_messages(messages, losses)
    _write_tools(body, conversation, losses)
    if planned.thinking is not None:
        body["thinking"] = planned.thinking
    _write_output_config(body, conversation, planned, extras.pop("output_config", None), losses)
    _write_sampling(body, conversation, planned, losses)
    _write_identity(body, conversation, extras.pop("metadata", None), losses)
    if conversation.stream:
        body["stream"] = True
    for name, value in extras.items():
        body.setdefault(name, value)
    return msgspec.json.encode(body)


# --- losses --------------------------------------------------------------------------------------


def _refuse_what_has_no_substitute(conversation: Conversation) -> None:
    refuse_stored(conversation)
    if conversation.n is not None and conversation.n > 1:
        raise refuse("n", "the messages API gives one choice")
    for fields in conversation.extras.values():
        modalities = fields.get("modalities")
        if modalities is not None and b'"audio"' in bytes(modalities):
            raise refuse("modalities", "the messages API does not speak")


def _report_dropped(conversation: Conversation, losses: Losses) -> None:
    for name in _UNSUPPORTED_FIELDS:
        if getattr(conversation, name) not in (None, False, 0.0):
            losses.drop(name, _NO_SUCH_FIELD)
    if conversation.seed == 0:
        losses.drop("seed", _NO_SUCH_FIELD)
    losses.drop_extras(conversation.extras, "messages")


# --- system and messages -------------------------------------------------------------------------


def _placed(conversation: Conversation, losses: Losses) -> tuple[tuple[System, ...], tuple[Message, ...]]:
    """The instructions and the messages. The API requires a message: without one, the last instruction becomes the
    user's."""
    system, messages = tuple(part for part in conversation.system if part.text.strip()), conversation.messages
    if messages or not system:
        return system, messages
    last = system[-1]
    losses.drop("messages.role", "the messages API wants a message by the user")
    return system[:-1], (Message(role="user", parts=(Text(text=last.text, cache=last.cache),)),)


def _system_block(part: System, losses: Losses) -> dict[str, Any]:
    losses.drop_extras(part.extras, "messages", "system.")
    block: dict[str, Any] = {"type": "text", "text": part.text}
    if part.cache is not None:
        block["cache_control"] = part.cache
    return {**own(part.extras, "messages"), **block}


def _write_messages(messages: tuple[Message, ...], losses: Losses) -> list[dict[str, Any]]:
    """Write messages as turns: neighbours of one role are merged, as this dialect requires."""
    turns: list[tuple[str, dict[str, Any], list[Any]]] = []
    for message in messages:
        role = _role(message, losses)
        blocks = write_parts(message.parts, losses)
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].update(own(message.extras, "messages"))
            turns[-1][2].extend(blocks)
        else:
            turns.append((role, own(message.extras, "messages"), blocks))
    return [{**kept, "role": role, "content": plain(_results_first(blocks))} for role, kept, blocks in turns]


def _results_first(blocks: list[Any]) -> list[Any]:
    """The blocks of a turn with tool results first, as the API requires ("Tool use", section "Handling tool
    results")."""
    return sorted(blocks, key=lambda block: not (isinstance(block, dict) and block["type"] == "tool_result"))


def _role(message: Message, losses: Losses) -> str:
    """The role in this dialect; a system message that came from another becomes the user's."""
    if message.name is not None:
        losses.drop("messages.name", "the messages API has no names of speakers")
    losses.drop_extras(message.extras, "messages", "messages.")
    if message.role in ("user", "assistant") or "messages" in message.extras:
        return message.role
    losses.drop("messages.role", f"a {message.role} message between others is sent as the user's")
    return "user"


# --- tools ---------------------------------------------------------------------------------------


def _write_tools(body: dict[str, Any], conversation: Conversation, losses: Losses) -> None:
    """Add the tools and the choice among them. Tools that the choice does not allow are left out."""
    choice = conversation.tool_choice
    allowed = choice.names if choice is not None and choice.mode == "allowed" else None
    offered = [tool for tool in conversation.tools if allowed is None or tool.name in allowed]
    foreign = conversation.is_foreign_to("messages")
    tools = [tool for tool in (_write_tool(tool, losses, foreign) for tool in offered) if tool is not None]
    if tools:
        body["tools"] = tools
    written = _write_choice(choice, conversation)
    parallel = conversation.parallel_tool_calls
    if written is None and parallel is False:
        written = {"type": "auto"}
    if written is None or not (tools or (choice is not None and choice.mode == "native")):
        return
    if written["type"] != "none" and (parallel is False or (parallel and choice is not None)):
        written["disable_parallel_tool_use"] = not parallel
    body["tool_choice"] = written


def _write_tool(tool: Tool, losses: Losses, foreign: bool) -> Any:
    """A tool, or None if this API cannot be given it."""
    if tool.kind == "native":
        if tool.dialect == "messages":
            return tool.raw
        if (searching := web_search.for_messages(tool, losses)) is not None:
            return searching
        losses.drop("tools.type", f"only the {tool.dialect} API has `{tool.name}`")
        return None
    losses.drop_extras(tool.extras, "messages", "tools.")
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    schema = _schema(tool, losses, foreign)
    written["input_schema"] = _enforceable(schema, "tools.strict", losses) if foreign and tool.strict else schema
    if tool.strict is not None:
        written["strict"] = tool.strict
    if tool.cache is not None:
        written["cache_control"] = tool.cache
    for name, value in own(tool.extras, "messages").items():
        written.setdefault(name, value)
    return written


def _schema(tool: Tool, losses: Losses, foreign: bool) -> Raw:
    """The schema of a tool's input; any object for a tool without parameters. Clients of this API write schemas that it
    takes, and those of others need not."""
    if tool.kind == "custom":
        if tool.format is not None and bytes(tool.format).replace(b" ", b"") != b'{"type":"text"}':
            losses.drop("tools.format", "the messages API has no grammars")
        return SCHEMA
    if tool.parameters is None or bytes(tool.parameters).strip() in (b"{}", b"null"):
        return ANY_OBJECT
    return tool_schema.reported(tool.parameters, losses) if foreign else tool.parameters


def _enforceable(schema: Raw, field: str, losses: Losses) -> Raw:
    """The schema as this API enforces it; keywords that it does not enforce are reported."""
    schema, in_words = enforceable(schema)
    if in_words:
        losses.drop(field, f"the messages API does not enforce {', '.join(in_words)}; said in words")
    return schema


def _write_choice(choice: ToolChoice | None, conversation: Conversation) -> dict[str, Any] | None:
    """`tool_choice` without its switch for parallel calls.

    Raises:
        UnsupportedConversion: a tool is forced that this API cannot be given.
    """
    match choice:
        case None:
            return None
        case ToolChoice(mode="auto" | "none"):
            return {"type": choice.mode}
        case ToolChoice(mode="required"):
            _need_tools(conversation)
            return {"type": "any"}
        case ToolChoice(mode="allowed"):
            return {"type": "any" if choice.required else "auto"}
        case ToolChoice(mode="named"):
            if not any(_may_be(tool, choice.name) for tool in conversation.tools):
                raise refuse("tool_choice", f"`{choice.name}` is not a tool that the messages API can be given")
            return {"type": "tool", "name": choice.name}
    if choice.dialect == "responses" and choice.raw is not None and any(map(_searches, conversation.tools)):
        chosen = OBJECT.decode(choice.raw).get("type", NULL)
        if web_search.is_openais(reading.maybe(STRING, chosen) or ""):
            return {"type": "tool", "name": web_search.NAME}
    if choice.dialect != "messages" or choice.raw is None:
        raise refuse("tool_choice", f"only the {choice.dialect} API has it")
    return dict(OBJECT.decode(choice.raw))


def _may_be(tool: Tool, name: str | None) -> bool:
    """Whether `tool` may be the one called `name`. A native tool may stand for several (`mcp_toolset`), whose names
    only the API knows."""
    return tool.dialect == "messages" if tool.kind == "native" else tool.name == name


def _carried(tool: Tool) -> bool:
    """Whether this API can be given the tool."""
    return tool.kind != "native" or tool.dialect == "messages" or _searches(tool)


def _searches(tool: Tool) -> bool:
    """Whether the tool is another API's web search, which this API has too."""
    return web_search.for_messages(tool, Losses()) is not None


def _need_tools(conversation: Conversation) -> None:
    if not any(_carried(tool) for tool in conversation.tools):
        raise refuse("tool_choice", "it asks for a tool call, and there is no tool that the messages API can be given")


# --- settings ------------------------------------------------------------------------------------


def _write_output_config(
    body: dict[str, Any], conversation: Conversation, planned: Plan, kept: Raw | None, losses: Losses
) -> None:
    config: dict[str, Any] = dict(OBJECT.decode(kept)) if kept is not None else {}
    if planned.effort is not None:
        config["effort"] = planned.effort
    wanted = conversation.response_format
    if wanted is not None and wanted.schema is not None:
        schema = wanted.schema
        if conversation.is_foreign_to("messages"):
            schema = _enforceable(schema, "response_format", losses)
        config["format"] = {"type": "json_schema", "schema": schema}
    elif wanted is not None and wanted.type != "text":
        losses.drop("response_format", "the messages API only takes a schema")
    if config:
        body["output_config"] = config


def _write_sampling(body: dict[str, Any], conversation: Conversation, planned: Plan, losses: Losses) -> None:
    """Add the sampling settings, as far as this API takes them."""
    sampling: dict[str, Any] = {
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "top_k": conversation.top_k,
    }
    if planned.thinks and conversation.reasoning is not None and "messages" not in conversation.reasoning.extras:
        _leave_to_thinking(sampling, losses)
    temperature = sampling["temperature"]
    if temperature is not None and temperature > 1:
        losses.drop("temperature", "the messages API goes up to 1; sent as 1")
        sampling["temperature"] = 1.0
    body.update({name: value for name, value in sampling.items() if value is not None})
    stop = [text for text in conversation.stop if text.strip()]
    if len(stop) < len(conversation.stop):
        losses.drop("stop", "the messages API refuses stop sequences of blanks alone")
    if stop:
        body["stop_sequences"] = stop


def _leave_to_thinking(sampling: dict[str, Any], losses: Losses) -> None:
    """Drop the sampling settings that the API refuses while it thinks."""
    reason = "the messages API refuses it while thinking"
    if sampling["temperature"] not in (None, 1):
        losses.drop("temperature", reason)
        sampling["temperature"] = None
    if sampling["top_k"] is not None:
        losses.drop("top_k", reason)
        sampling["top_k"] = None
    if sampling["top_p"] is not None and sampling["top_p"] < _LEAST_TOP_P:
        losses.drop("top_p", reason)
        sampling["top_p"] = None


def _write_identity(body: dict[str, Any], conversation: Conversation, kept: Raw | None, losses: Losses) -> None:
    """Add the end user's id and the service tier."""
    metadata: dict[str, Any] = dict(OBJECT.decode(kept)) if kept is not None else {}
    user = conversation.user if conversation.user is not None else conversation.safety_identifier
    if user is not None:
        metadata = {"user_id": user, **metadata}
    if metadata:
        body["metadata"] = metadata
    if conversation.service_tier in _SERVICE_TIERS:
        body["service_tier"] = _SERVICE_TIERS[conversation.service_tier]
    elif conversation.service_tier is not None:
        losses.drop("service_tier", "the messages API knows `auto` and `default`")
