"""Reads the content parts and tool calls of a request's messages.

Source: API reference, Chat, `messages.content`. A part of an unknown type becomes an `Opaque`, which is written as it
was read.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from plano.conversation import (
    NO_EXTRAS,
    Audio,
    Citation,
    Document,
    Extras,
    Image,
    Part,
    Refusal,
    Text,
    ToolCall,
)
from plano.dialects import call_seals, data_uris, reading
from plano.dialects.chat.thinking import FROM_CHAT
from plano.dialects.content import Readers, read_parts
from plano.dialects.fields import STRING, Fields, Object, raw_of


def read_content(content: str | list[Object], path: str) -> tuple[Part, ...]:
    """The parts of a message's or a tool result's `content`; a string is one text."""
    return read_parts(content, path, _READERS, "chat")


def _marked(part: Fields, name: str = "", inner: Fields | None = None) -> tuple[Raw | None, Extras]:
    """A part's cache mark and its unknown fields; those of its `inner` object are under that object's `name`.

    OpenAI has no `cache_control`, but servers in front of Anthropic's models take it on content parts. So a part that
    came with a mark may go out with one; its extras say so even if it has no unknown fields.
    """
    cache = part.raw("cache_control")
    extras = extras_within(part, name, inner) if inner is not None else part.extras("chat")
    return cache, (extras or FROM_CHAT if cache is not None else extras)


def extras_within(whole: Fields, name: str, inner: Fields) -> Extras:
    """The unknown fields of an object, and those of the `inner` object in its field `name`."""
    rest = whole.rest()
    if within := inner.rest():
        rest[name] = raw_of(within)
    return {"chat": rest} if rest else NO_EXTRAS


def _text(part: Fields) -> Part:
    text = part.need("text", STRING)
    cache, extras = _marked(part)
    return Text(text=text, cache=cache, extras=extras)


def _refusal(part: Fields) -> Part:
    return Refusal(text=part.need("refusal", STRING), extras=part.extras("chat"))


def _image(part: Fields) -> Part:
    image = part.need_nested("image_url")
    url, detail = image.need("url", STRING), image.take("detail", STRING)
    cache, extras = _marked(part, "image_url", image)
    return replace_source(Image(detail=detail, cache=cache, extras=extras), url)


def replace_source(image: Image, url: str) -> Image:
    """The image with its source: the URL, or, if that is a data URI, the bytes that it holds."""
    media_type, data = data_uris.split(url)
    if data is None:
        return msgspec.structs.replace(image, url=url)
    return msgspec.structs.replace(image, data=data, media_type=media_type)


def _audio(part: Fields) -> Part:
    audio = part.need_nested("input_audio")
    data, format_ = audio.need("data", STRING), audio.take("format", STRING)
    cache, extras = _marked(part, "input_audio", audio)
    return Audio(data=data, format=format_, cache=cache, extras=extras)


def _file(part: Fields) -> Part | None:
    """Read a file; None for one that some server names in its own way."""
    file = part.need_nested("file")
    given, name = file.take("file_data", STRING), file.take("filename", STRING)
    file_id = file.take("file_id", STRING)
    if given is None and file_id is None:
        return None
    cache, extras = _marked(part, "file", file)
    if given is None:
        return Document(file_id=file_id, name=name, cache=cache, extras=extras)
    media_type, data = data_uris.split(given)
    if data is None:
        media_type, data = None, given
    return Document(data=data, media_type=media_type, file_id=file_id, name=name, cache=cache, extras=extras)


_READERS: Readers = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}


def read_call(call: Fields) -> ToolCall:
    """Read a tool call of an assistant message in a request."""
    (id_, sealed), type_ = call_seals.opened(call.need("id", STRING)), call.take("type", STRING)
    call.raw("index")  # calls that a client put together from a stream may still have it
    if type_ == "custom" or (type_ is None and "custom" in call.found):
        custom = call.need_nested("custom")
        name, text = custom.need("name", STRING), custom.take("input", STRING) or ""
        extras = extras_within(call, "custom", custom)
        return ToolCall(id=id_, name=name, arguments=text, kind="custom", extras=_joined(sealed, extras) or FROM_CHAT)
    function = call.need_nested("function")
    name, arguments = function.need("name", STRING), function.take("arguments", STRING) or ""
    extras = extras_within(call, "function", function)
    return ToolCall(id=id_, name=name, arguments=arguments, extras=_joined(sealed, extras))


def _joined(sealed: Extras, given: Extras) -> Extras:
    """A call's unknown fields, with the one that its id carried."""
    return {"chat": {**sealed["chat"], **given.get("chat", {})}} if sealed else given


class _UrlCitation(msgspec.Struct):
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Annotation(msgspec.Struct):
    url_citation: _UrlCitation


_ANNOTATION = msgspec.json.Decoder(_Annotation)


def read_annotation(raw: Raw) -> Citation:
    """Read one of `annotations`; one of an unknown kind is kept as it is."""
    annotation = reading.maybe(_ANNOTATION, raw)
    if annotation is None:
        return Citation(dialect="chat", raw=raw)
    found = annotation.url_citation
    return Citation(url=found.url, title=found.title, start=found.start_index, end=found.end_index)
