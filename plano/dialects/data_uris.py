"""Data URIs (RFC 2397), in which chat and responses carry the bytes of an image or a file."""

from __future__ import annotations

import re

_DATA_URI = re.compile(r"data:([^;,]*)(?:;[^,]*?)?;base64,", re.IGNORECASE)


def split(url: str) -> tuple[str | None, str | None]:
    """The media type and the base64 of a data URI; (None, None) for any other URL.

    The base64 may have megabytes: it is copied once, and never looked at.
    """
    found = _DATA_URI.match(url)
    return (found.group(1) or None, url[found.end() :]) if found is not None else (None, None)


def join(media_type: str, data: str) -> str:
    """The data URI of base64 `data`."""
    return f"data:{media_type};base64,{data}"
