from __future__ import annotations

import pytest

from plano.errors import UpstreamProtocolError
from plano.frames.sse import Aligner, Frame, Splitter, blocks, frame, frames, without_comments

STREAMS = [
    (b"data: {}\n\n", [Frame(None, b"{}")]),
    (b"data:{}\n\n", [Frame(None, b"{}")]),
    (b"event: ping\ndata: {}\n\n", [Frame("ping", b"{}")]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [Frame(None, b"a"), Frame(None, b"b")]),
    (b"data: a\r\rdata: b\r\r", [Frame(None, b"a"), Frame(None, b"b")]),
    (b"data: a\ndata: b\n\n", [Frame(None, b"a\nb")]),
    (b": keepalive\n\ndata: a\n\n", [Frame(None, b"a")]),
    (b"id: 7\nretry: 100\ndata: a\n\n", [Frame(None, b"a")]),
    (b"event: nothing\n\n", []),
    (b"data\n\n", [Frame(None, b"")]),
    (b"\xef\xbb\xbfdata: a\n\n", [Frame(None, b"a")]),
    ("data: caf\u00e9 \u2028 line\n\n".encode(), [Frame(None, "caf\u00e9 \u2028 line".encode())]),
    (b"data: a\n\n\n\ndata: b\n\n", [Frame(None, b"a"), Frame(None, b"b")]),
    (b"data:  two spaces\n\n", [Frame(None, b" two spaces")]),
]


@pytest.mark.parametrize(("stream", "expected"), STREAMS)
def test_a_stream_is_split_into_its_events(stream: bytes, expected: list[Frame]) -> None:
    assert frames(stream) == expected


@pytest.mark.parametrize(("stream", "expected"), STREAMS)
def test_a_stream_may_be_cut_at_every_byte(stream: bytes, expected: list[Frame]) -> None:
    for cut in range(len(stream) + 1):
        splitter = Splitter()
        found = splitter.feed(stream[:cut]) + splitter.feed(stream[cut:]) + splitter.finish()
        assert found == expected, f"cut at {cut}"


@pytest.mark.parametrize(("stream", "expected"), STREAMS)
def test_a_stream_may_come_byte_by_byte(stream: bytes, expected: list[Frame]) -> None:
    splitter = Splitter()
    found = [event for byte in stream for event in splitter.feed(bytes([byte]))]
    assert found + splitter.finish() == expected


def test_an_aligner_loses_no_byte_and_ends_pieces_at_a_frames_end() -> None:
    stream = b": hi\n\nevent: a\ndata: 1\r\n\r\ndata: 2\n\ndata: 3\r\rdata: 4\n\n"
    for size in range(1, len(stream) + 1):
        aligner = Aligner()
        pieces = [aligner.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
        assert b"".join([*pieces, aligner.finish()]) == stream
        assert all(piece.endswith((b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\r")) for piece in pieces if piece)


def test_an_aligned_chunk_is_not_copied() -> None:
    chunk = b"data: {}\n\n"
    assert Aligner().feed(chunk) is chunk


def test_a_last_frame_without_its_blank_line_is_closed() -> None:
    aligner = Aligner()
    assert aligner.feed(b"data: a\n\ndata: [DONE]\n") == b"data: a\n\n"
    assert aligner.finish() == b"data: [DONE]\n\n\n"


def test_a_frame_over_the_limit_is_refused() -> None:
    aligner = Aligner(limit=100)
    assert aligner.feed(b"data: " + b"x" * 94) == b""
    with pytest.raises(UpstreamProtocolError, match="more than 100 bytes"):
        aligner.feed(b"x")


def test_blocks_keep_comments_and_ids() -> None:
    assert blocks(b": hi\n\nid: 1\ndata: a\n\n") == [b": hi", b"id: 1\ndata: a"]


@pytest.mark.parametrize(("event", "expected"), [(None, b"data: {}\n\n"), ("ping", b"event: ping\ndata: {}\n\n")])
def test_a_frame_is_written_as_it_is_read(event: str | None, expected: bytes) -> None:
    assert frame(b"{}", event) == expected
    assert frames(expected) == [Frame(event, b"{}")]


@pytest.mark.parametrize(
    ("piece", "rest"),
    [
        (b": ping\n\n", b""),
        (b":\n\n", b""),
        (b"\xef\xbb\xbf: ping\n\n", b""),
        (b": one\n: two\r\n\r\n", b""),
        (b": ping\r\r", b""),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n: ping\n\n", b"data: a\n\n"),
        (b": with an event\ndata: a\n\n", b": with an event\ndata: a\n\n"),
        (b"retry: 3000\n\n", b"retry: 3000\n\n"),
        (b"data: a\r\n\r\ndata: : b\r\n\r\n", b"data: a\r\n\r\ndata: : b\r\n\r\n"),
        (b"", b""),
    ],
)
def test_frames_of_comments_alone_are_left_out(piece: bytes, rest: bytes) -> None:
    assert without_comments(piece) == rest
