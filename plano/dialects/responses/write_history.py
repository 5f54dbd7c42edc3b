"""Writes the turns of a conversation as `input` items for an upstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from plano.conversation import (
    Audio,
    Document,
    Extras,
    Image,
    Message,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    System,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from plano.dialects import data_uris
from plano.dialects.responses import tool_search, write_items
from plano.dialects.responses.tools import write_tool
from plano.dialects.responses.write_items import content_type, own_fields
from plano.losses import Losses, refuse

_SHARED_FIELDS = frozenset({"prompt_cache_breakpoint"})
"""The fields of a content part that the chat API has too, in the same form."""

_UNSEALED = "reasoning is only taken back with the seal of this upstream's own API"


class History:
    """Collects the `input` items, turn by turn."""

    def __init__(self, losses: Losses, tools: Sequence[Tool] = ()) -> None:
        self.items: list[Any] = []
        self._losses = losses
        self._found = [tool for tool in tools if tool.found_by is not None]
        self._custom_calls: set[str] = set()

    def instruction(self, system: System) -> None:
        """Add a leading instruction as an item of `input`."""
        content = {"type": "input_text", "text": system.text, **own_fields(system.extras)}
        self.items.append({"type": "message", "role": system.role, "content": [content]})

    def turn(self, message: Message) -> None:
        """Add a message."""
        if message.name is not None:
            self._losses.drop("messages.name", "the responses API has no names of participants")
        self._losses.drop_extras(message.extras, "responses", "messages.")
        if message.role == "assistant":
            self._assistant(message.parts)
        else:
            self._input(message)

    def _input(self, message: Message) -> None:
        """Add a turn of the user: first results and other items, each as it stands; then the rest as one message."""
        content = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                self._result(part)
            elif isinstance(part, Opaque) and not content_type(part.type):
                self._opaque(part)
            else:
                content += self._content(part)
        if content or not message.parts:
            fields = message.extras.get("responses", {})
            self.items.append({"type": "message", "role": message.role, "content": content, **fields})

    # --- turns of the assistant ---

    def _assistant(self, parts: Sequence[Part]) -> None:
        """Add a turn of the assistant: texts and refusals in a row are one message item."""
        said: list[Text | Refusal | Opaque] = []
        for part in parts:
            if isinstance(part, Text | Refusal) or (isinstance(part, Opaque) and content_type(part.type)):
                if said and _begins_another(said[0], part):
                    self._said(said)
                    said = []
                said.append(part)
                continue
            self._said(said)
            said = []
            self._done(part)
        self._said(said)

    def _said(self, parts: list[Text | Refusal | Opaque]) -> None:
        """Add a message item of the assistant."""
        if not parts:
            return
        for part in parts:
            self._note_losses(part)
        first = parts[0]
        id_ = None if isinstance(first, Opaque) else first.item_id
        fields = write_items.message_fields(first.extras)
        content = [found for part in parts if (found := self._output(part)) is not None]
        written = write_items.message(content, id_=id_, status="completed", fields=fields)
        if id_ is None and len(parts) == 1 and isinstance(first, Text) and _is_plain(first):
            written["content"] = first.text
        self.items.append(written)

    def _output(self, part: Text | Refusal | Opaque) -> Any:
        """A part of a message item of the assistant; None for one that cannot be said."""
        if isinstance(part, Text):
            if any(write_items.annotation(citation, 0) is None for citation in part.citations):
                self._losses.drop("messages.citations", "only the API that it came from can say this citation")
            return write_items.output_text(part)
        if isinstance(part, Refusal):
            return write_items.refusal(part)
        return self._own(part)

    def _done(self, part: Part) -> None:
        """Add a part of the assistant's turn that is an item of its own."""
        if isinstance(part, ToolCall):
            self._call(part)
        elif isinstance(part, Thinking):
            self._thinking(part)
        elif isinstance(part, RedactedThinking):
            self._losses.drop("messages.thinking", _UNSEALED)
        elif isinstance(part, Opaque):
            self._opaque(part)
        elif isinstance(part, Audio) and part.transcript:
            self._said([Text(text=part.transcript)])
            self._losses.drop(
                "messages.audio", "the responses API has no audio of the assistant; its transcript went out"
            )
        else:
            self._losses.drop("messages.content", "the responses API has only text in what the assistant said")

    def _thinking(self, part: Thinking) -> None:
        """Add reasoning, if this API made its seal, or if it has an id without a seal and so refers to reasoning that
        this API keeps."""
        sealed = part.seal is not None and part.origin == "responses"
        referred = part.seal is None and part.item_id is not None
        if sealed or referred:
            self._note_losses(part)
            self.items.append(write_items.reasoning(part, id_=part.item_id, seal=part.seal))
        else:
            self._losses.drop("messages.thinking", _UNSEALED)

    def _call(self, part: ToolCall) -> None:
        self._note_losses(part, "messages.tool_calls.")
        if part.kind == "custom":
            self._custom_calls.add(part.id)
        self.items.append(write_items.call(part, id_=part.item_id, status="completed"))

    # --- outputs of tools ---

    def _result(self, part: ToolResult) -> None:
        self._note_losses(part, "tool_result.")
        if part.is_error:
            self._losses.drop("tool_result.is_error", "the responses API has no error flag on a tool's output")
        if part.kind == "search":
            found = tool_search.written_output(part.call_id, self._tools(part))
            self.items.append(found | own_fields(part.extras))
            return
        custom = part.kind == "custom" or part.call_id in self._custom_calls
        type_ = "custom_tool_call_output" if custom else "function_call_output"
        output = self._tool_output(part.parts)
        self.items.append({"type": type_, "call_id": part.call_id, "output": output, **own_fields(part.extras)})

    def _tools(self, part: ToolResult) -> list[Any]:
        """The tools that a search found."""
        found = (tool for tool in self._found if tool.found_by == part.call_id)
        return [write_tool(tool, self._losses, foreign=False) if tool.raw is None else tool.raw for tool in found]

    def _tool_output(self, parts: Sequence[Part]) -> Any:
        """A tool's output: a string for a plain text, else a list of parts."""
        if len(parts) == 1 and isinstance(parts[0], Text) and not self._part_fields(parts[0]):
            return parts[0].text
        return [found for part in parts for found in self._content(part)] or ""

    # --- content of messages and outputs ---

    def _content(self, part: Part) -> list[Any]:
        """The part as input content: a list of one element, or of none if the part cannot be said."""
        if isinstance(part, Text):
            return [{"type": "input_text", "text": part.text, **self._part_fields(part)}]
        if isinstance(part, Image):
            return [self._image(part)]
        if isinstance(part, Document):
            return [self._document(part)]
        if isinstance(part, Audio):
            return [self._audio(part)]
        if isinstance(part, Opaque):
            found = self._own(part)
            return [] if found is None else [found]
        self._losses.drop("messages.content", "the responses API has no such content in a user's message")
        return []

    def _image(self, part: Image) -> dict[str, Any]:
        fields: dict[str, Any] = {"type": "input_image"}
        if part.data is not None:
            fields["image_url"] = data_uris.join(part.media_type or "image/png", part.data)
        elif part.url is not None:
            fields["image_url"] = part.url
        if part.file_id is not None:
            fields["file_id"] = _openais(part.file_id)
        if part.detail is not None:
            fields["detail"] = part.detail
        return fields | self._part_fields(part)

    def _document(self, part: Document) -> dict[str, Any]:
        """Write a document. Plain text is written as text, because this API takes files only as data, by URL or by
        id."""
        if part.text is not None:
            return {"type": "input_text", "text": part.text, **self._part_fields(part)}
        fields: dict[str, Any] = {"type": "input_file"}
        if part.name is not None:
            fields["filename"] = part.name
        elif part.data is not None and part.media_type is not None:
            fields["filename"] = f"document.{part.media_type.rpartition('/')[2]}"  # data without a name is refused
        if part.data is not None:
            fields["file_data"] = data_uris.join(part.media_type, part.data) if part.media_type else part.data
        if part.url is not None:
            fields["file_url"] = part.url
        if part.file_id is not None:
            fields["file_id"] = _openais(part.file_id)
        return fields | self._part_fields(part)

    def _audio(self, part: Audio) -> dict[str, Any]:
        if part.data is None:
            raise refuse("messages.audio", "the responses API takes audio as data only")
        audio = {"data": part.data, "format": part.format}
        return {"type": "input_audio", "input_audio": audio, **self._part_fields(part)}

    def _part_fields(self, part: Part) -> dict[str, Any]:
        """The part's own fields, and those that it shares with chat; all others are reported."""
        self._note_losses(part)
        shared = {name: raw for name, raw in part.extras.get("chat", {}).items() if name in _SHARED_FIELDS}
        return shared | own_fields(part.extras)

    # --- losses ---

    def _opaque(self, part: Opaque) -> None:
        found = self._own(part)
        if found is not None:
            self.items.append(found)

    def _own(self, part: Opaque) -> Raw | None:
        """The part as it was written, if it is this dialect's; else it is reported."""
        if part.dialect == "responses":
            return part.raw
        self._losses.drop("messages.content", f"only the {part.dialect} API has `{part.type}`")
        return None

    def _note_losses(self, part: Part, prefix: str = "messages.") -> None:
        """Report the cache mark and the fields of a part that this dialect cannot say."""
        if part.cache is not None:
            self._losses.drop(f"{prefix}cache_control", "the responses API has other cache marks")
        self._losses.drop_extras(_without_shared(part.extras), "responses", prefix)


def _begins_another(first: Text | Refusal | Opaque, part: Text | Refusal | Opaque) -> bool:
    """Whether `part` belongs to another message item than `first`."""
    if isinstance(first, Opaque) or isinstance(part, Opaque):
        return False
    return part.item_id != first.item_id or bool(write_items.message_fields(part.extras))


def _is_plain(part: Text) -> bool:
    """Whether a text can be written as a string."""
    return not part.citations and not own_fields(part.extras)


def _openais(file_id: str) -> str:
    """A file id of OpenAI's (`file-…`), whose files chat and responses share.

    Raises:
        UnsupportedConversion: the file is stored with Anthropic (`file_…`).
    """
    if file_id.startswith("file_"):
        raise refuse("messages.file_id", "the file is stored with another vendor")
    return file_id


def _without_shared(extras: Extras) -> Extras:
    """The extras without the chat fields that this dialect can say."""
    chat = extras.get("chat")
    if not chat or _SHARED_FIELDS.isdisjoint(chat):
        return extras
    return {**extras, "chat": {name: raw for name, raw in chat.items() if name not in _SHARED_FIELDS}}
