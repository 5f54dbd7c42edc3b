"""One client per dialect, on the real SDKs, with the same verbs: what a test asks is written once for all three."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from openai import APIError, AsyncOpenAI

from plano.types import Dialect

REQUEST = httpx2.Request("POST", "http://gateway")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass
class Got:
    """What came back, in no dialect's words."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    raw: Any = None


class ChatClient:
    dialect: Dialect = "chat"

    def __init__(self, url: str, key: str = "any") -> None:
        self.sdk = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)

    async def ask(self, model: str, prompt: str, *, stream: bool = False, tools: bool = False, **more: Any) -> Got:
        if tools:
            more["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
        messages: Any = [{"role": "user", "content": prompt}]
        if stream:
            more |= {"stream": True, "stream_options": {"include_usage": True}}
            return await _chat_stream(await self.sdk.chat.completions.create(model=model, messages=messages, **more))
        completion: Any = await self.sdk.chat.completions.create(model=model, messages=messages, **more)
        choice = completion.choices[0]
        usage = completion.usage
        return Got(
            text=choice.message.content or "",
            thinking=(choice.message.model_extra or {}).get("reasoning_content") or "",
            calls=[(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or []],
            finish=choice.finish_reason,
            input_tokens=usage and usage.prompt_tokens,
            output_tokens=usage and usage.completion_tokens,
            cached_tokens=usage and usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens,
            raw=completion,
        )

    async def aclose(self) -> None:
        await self.sdk.close()


async def _chat_stream(chunks: Any) -> Got:
    """What the SDK's own accumulator does, which raises for a reply that was cut short."""
    got, calls = Got(raw=[]), {}
    async for chunk in chunks:
        got.raw.append(chunk)
        if chunk.usage is not None:
            got.input_tokens, got.output_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
            details = chunk.usage.prompt_tokens_details
            got.cached_tokens = details and details.cached_tokens
        for choice in chunk.choices:
            got.finish = choice.finish_reason or got.finish
            got.text += choice.delta.content or ""
            got.thinking += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            for call in choice.delta.tool_calls or []:
                id, name, arguments = calls.get(call.index, (call.id, call.function.name, ""))
                calls[call.index] = (id, name, arguments + (call.function.arguments or ""))
    got.calls = [calls[index] for index in sorted(calls)]
    return got


class MessagesClient:
    dialect: Dialect = "messages"

    def __init__(self, url: str, key: str = "any") -> None:
        self.sdk = AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=20)

    async def ask(self, model: str, prompt: str, *, stream: bool = False, tools: bool = False, **more: Any) -> Got:
        if tools:
            more["tools"] = [{"name": "get_weather", "input_schema": CITY}]
        more = {"max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], "model": model} | more
        if stream:
            async with self.sdk.messages.stream(**more) as events:
                async for _ in events:
                    pass
                message: Any = await events.get_final_message()
        else:
            message = await self.sdk.messages.create(**more)
        blocks = message.content
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        return Got(
            text="".join(b.text for b in blocks if b.type == "text"),
            thinking="".join(b.thinking for b in blocks if b.type == "thinking"),
            calls=[(b.id, b.name, b.input) for b in blocks if b.type == "tool_use"],
            finish=message.stop_reason,
            input_tokens=usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
            output_tokens=usage.output_tokens,
            cached_tokens=cached,
            raw=message,
        )

    async def aclose(self) -> None:
        await self.sdk.close()


class ResponsesClient:
    dialect: Dialect = "responses"

    def __init__(self, url: str, key: str = "any") -> None:
        self.sdk = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)

    async def ask(self, model: str, prompt: str, *, stream: bool = False, tools: bool = False, **more: Any) -> Got:
        if tools:
            more["tools"] = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": False}]
        if stream:
            response: Any = None
            async for event in await self.sdk.responses.create(model=model, input=prompt, stream=True, **more):
                if event.type in ("response.completed", "response.incomplete"):
                    response = event.response
                elif event.type == "response.failed":
                    raise APIError(event.response.error.message, request=REQUEST, body=None)
                elif event.type == "error":
                    raise APIError(event.message, request=REQUEST, body=None)
        else:
            response = await self.sdk.responses.create(model=model, input=prompt, **more)
        usage = response.usage
        thought = [item for item in response.output if item.type == "reasoning"]
        reason = response.incomplete_details and response.incomplete_details.reason
        return Got(
            text=response.output_text,
            thinking="".join(part.text for item in thought for part in [*item.summary, *(item.content or [])]),
            calls=[(i.call_id, i.name, i.arguments) for i in response.output if i.type == "function_call"],
            finish=reason or response.status,
            input_tokens=usage and usage.input_tokens,
            output_tokens=usage and usage.output_tokens,
            cached_tokens=usage and usage.input_tokens_details.cached_tokens,
            raw=response,
        )

    async def aclose(self) -> None:
        await self.sdk.close()


CLIENTS: dict[Dialect, Any] = {"chat": ChatClient, "messages": MessagesClient, "responses": ResponsesClient}
