"""Content codings, undone in steps."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable

import pytest

from plano.codings import _ZSTD_WINDOW_LOG, MAX_FOR_NOTHING, PIECE, CodingError, Decoder, _zstd, decoder_of, known

TEXT = b"The quick brown fox. " * 500
zstd = _zstd()


def bare_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


def zstd_stream(data: bytes) -> bytes:
    """A frame that does not say how long its content is, as streaming encoders write it."""
    squeeze = zstd.ZstdCompressor()
    written: bytes = squeeze.compress(data) + squeeze.flush()
    return written


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "gzip-members": (b"gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
    "deflate": (b"deflate", zlib.compress),
    "deflate-bare": (b"deflate", bare_deflate),
    "zstd": (b"zstd", zstd.compress),
    "zstd-stream": (b"zstd", zstd_stream),
    "zstd-frames": (b"zstd", lambda data: zstd.compress(data[:100]) + zstd_stream(data[100:])),
}


def decoder_for(coding: bytes) -> Decoder:
    decoder = decoder_of(coding)
    assert decoder is not None
    return decoder


@pytest.mark.parametrize("name", CODINGS)
def test_a_coded_body_may_be_cut_at_any_byte(name: str) -> None:
    coding, compress = CODINGS[name]
    data = compress(TEXT)
    for cut in range(len(data)):
        decoder = decoder_for(coding)
        pieces = [*decoder.feed(data[:cut]), *decoder.feed(data[cut:])]
        decoder.finish()
        assert b"".join(pieces) == TEXT
        assert all(pieces)


@pytest.mark.parametrize("name", CODINGS)
def test_a_coded_body_that_ends_early_is_an_error(name: str) -> None:
    coding, compress = CODINGS[name]
    data = compress(TEXT)
    decoder = decoder_for(coding)
    list(decoder.feed(data[:-1]))
    with pytest.raises(CodingError, match="ends early"):
        decoder.finish()


@pytest.mark.parametrize("coding", known())
def test_a_body_that_is_not_what_it_says_is_an_error(coding: bytes) -> None:
    with pytest.raises(CodingError, match="not what its content-encoding says"):
        list(decoder_for(coding).feed(b"\xff\xff\xff\xff plainly not"))


@pytest.mark.parametrize("coding", known())
def test_no_body_needs_no_decoding(coding: bytes) -> None:
    decoder = decoder_for(coding)
    assert list(decoder.feed(b"")) == []
    decoder.finish()


def many_members(data: bytes) -> bytes:
    """gzip with two bytes of `data` in each member."""
    return b"".join(gzip.compress(data[start : start + 2]) for start in range(0, len(data), 2))


LARGE: dict[str, tuple[bytes, Callable[[bytes], bytes], bytes]] = {
    "gzip": (b"gzip", gzip.compress, bytes(10 << 20)),
    "deflate": (b"deflate", zlib.compress, bytes(10 << 20)),
    "bare": (b"deflate", bare_deflate, bytes(10 << 20)),
    "zstd": (b"zstd", zstd.compress, bytes(10 << 20)),
    "zstd stream": (b"zstd", zstd_stream, bytes(10 << 20)),
    "a little more than a piece": (b"deflate", bare_deflate, bytes(PIECE + 21)),
    "exactly a piece": (b"gzip", gzip.compress, bytes(PIECE)),
    "exactly a piece of zstd": (b"zstd", zstd_stream, bytes(PIECE)),
    "members of a piece": (b"gzip", lambda data: gzip.compress(data[:PIECE]) * 3, bytes(3 * PIECE)),
    "frames of a piece": (b"zstd", lambda data: zstd.compress(data[:PIECE]) * 3, bytes(3 * PIECE)),
    "small members": (b"gzip", many_members, TEXT * 4),
}


@pytest.mark.parametrize("name", LARGE)
def test_pieces_are_neither_larger_than_one_step_may_make_nor_crumbs(name: str) -> None:
    coding, compress, data = LARGE[name]
    coded = compress(data)
    decoder = decoder_for(coding)
    pieces = list(decoder.feed(coded))
    decoder.finish()
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE
    assert min(map(len, pieces[:-1]), default=1000) >= 1000


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"zstd"])
def test_a_small_body_becomes_a_large_one_only_as_far_as_somebody_reads(coding: bytes) -> None:
    compress = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"zstd": zstd.compress}[coding]
    bomb = compress(bytes(100 << 20))
    assert len(bomb) < 200_000
    pieces = decoder_for(coding).feed(bomb)
    assert len(next(pieces)) == PIECE


FOR_NOTHING = {
    "empty members": (b"gzip", gzip.compress(b"") * 5000),
    "a name without end": (b"gzip", b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 100_000),
    "empty blocks": (b"deflate", b"\x00\x00\x00\xff\xff" * 20_000),
    "empty frames": (b"zstd", zstd.compress(b"") * 10_000),
    "a frame to skip": (b"zstd", b"\x50\x2a\x4d\x18" + (100_000).to_bytes(4, "little") + bytes(100_000)),
}


@pytest.mark.parametrize("name", FOR_NOTHING)
def test_coded_data_that_decodes_to_nothing_is_ended(name: str) -> None:
    coding, data = FOR_NOTHING[name]
    assert len(data) > MAX_FOR_NOTHING
    with pytest.raises(CodingError, match="comes to nothing"):
        list(decoder_for(coding).feed(data))


def test_members_are_counted() -> None:
    decoder = decoder_for(b"gzip")
    list(decoder.feed(many_members(TEXT[:100])))
    assert decoder.members == 50


def test_a_frame_may_not_ask_for_more_memory_than_http_allows() -> None:
    for log, allowed in ((_ZSTD_WINDOW_LOG, True), (_ZSTD_WINDOW_LOG + 1, False)):
        squeeze = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        data = squeeze.compress(TEXT) + squeeze.flush()
        if allowed:
            assert b"".join(decoder_for(b"zstd").feed(data)) == TEXT
        else:
            with pytest.raises(CodingError, match="memory"):
                list(decoder_for(b"zstd").feed(data))


@pytest.mark.parametrize("coding", [b"br", b"compress", b"identity", b"GZIP", b""])
def test_another_coding_has_no_decoder(coding: bytes) -> None:
    assert decoder_of(coding) is None


def test_without_a_module_for_zstd_the_others_are_there() -> None:
    program = """
import sys
for name in ("compression", "compression.zstd", "backports", "backports.zstd"):
    sys.modules[name] = None
from plano.codings import decoder_of, known
print(known(), decoder_of(b"zstd"), type(decoder_of(b"gzip")).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(b'gzip', b'deflate') None Gzip\n"


def test_zstd_costs_nothing_until_a_body_comes_in_it() -> None:
    program = "import sys, plano.edge.ask, plano.transport; print([name for name in sys.modules if 'zstd' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
