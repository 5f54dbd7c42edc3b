"""Data URIs (RFC 2397), which is how chat and responses say what is in an image or a file."""

from __future__ import annotations

import re

_DATA_URI = re.compile(r"data:([^;,]*)(?:;[^,]*?)?;base64,", re.IGNORECASE)


def split(url: str) -> tuple[str | None, str | None]:
    """Media type and base64; (None, None) for any other URL. The base64 is not copied more than once, nor looked at."""
    found = _DATA_URI.match(url)
    return (found.group(1) or None, url[found.end() :]) if found is not None else (None, None)


def join(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"
