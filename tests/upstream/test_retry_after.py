"""The waits that responses ask for."""

from __future__ import annotations

import pytest

from plano.types import RawHeaders
from plano.upstream.retry_after import retry_after_in

NOW = 1_445_412_420.0
"""Wed, 21 Oct 2015 07:27:00 GMT."""

CASES: list[tuple[RawHeaders, float | None]] = [
    ([], None),
    ([(b"retry-after", b"2")], 2.0),
    ([(b"retry-after", b" 2 ")], 2.0),
    ([(b"retry-after", b"1.5")], 1.5),
    ([(b"retry-after", b"0")], 0.0),
    ([(b"retry-after", b"-3")], 0.0),
    ([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT")], 60.0),
    ([(b"retry-after", b"Wednesday, 21-Oct-15 07:28:00 GMT")], 60.0),
    ([(b"retry-after", b"Wed, 21 Oct 2015 07:00:00 GMT")], 0.0),
    ([(b"retry-after-ms", b"857")], 0.857),
    ([(b"retry-after", b"1"), (b"retry-after-ms", b"857")], 0.857),
    ([(b"retry-after", b"1"), (b"retry-after-ms", b"soon")], 1.0),
    ([(b"retry-after", b"soon")], None),
    ([(b"retry-after", b"")], None),
    ([(b"retry-after", b"nan")], None),
    ([(b"retry-after", b"inf")], None),
    ([(b"retry-after", b"\xff")], None),
    ([(b"retry-after", b"Wed, 99 Oct 99999 07:28:00 GMT")], None),
    ([(b"x-retry-after", b"2")], None),
]


@pytest.mark.parametrize(("headers", "seconds"), CASES)
def test_the_wait_in_headers(headers: RawHeaders, seconds: float | None) -> None:
    wait = retry_after_in(headers, NOW)
    assert wait == (None if seconds is None else pytest.approx(seconds))
