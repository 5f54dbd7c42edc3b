"""Lines are written by a thread: a reader that stalls, or goes, stops nobody who logs."""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

import pytest

from plano.observability import logs
from plano.observability.log_writer import BUFFER, Direct, Threaded, writer_to
from tests.scraping import Scrape
from tests.servers import wait_until
from tests.test_cli import DEMO, up


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends, to be read and to be written."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


def handler_to(end: int) -> logs.BatchHandler:
    return logs.BatchHandler(os.fdopen(end, "w", closefd=False), logs.JSONFormatter(), 0.0)


def info(message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO", "name": "x"})


def asked(url: str, times: int) -> list[int]:
    """The statuses of so many cheap requests, whose lines are long."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    body = json.dumps({"model": "demo/echo", "messages": [{"role": "user", "content": "Hello"}]})
    headers = {"content-type": "application/json", "x-request-id": "x" * 128}
    found = []
    for _ in range(times):
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        answer.read()
        found.append(answer.status)
    connection.close()
    return found


def dropped(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
        return Scrape(answer.read().decode()).of("plano_log_lines_dropped_total")


def drained(process: Popen[str], into: list[str]) -> threading.Thread:
    def read() -> None:
        assert process.stdout is not None
        into.extend(iter(process.stdout.readline, ""))

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_a_gateway_whose_log_nobody_reads_answers_and_says_later_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (process, url, _):
        assert dropped(url) == 0
        assert set(asked(url, 3000)) == {200}
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as answer:
            assert answer.status == 200
        wait_until(lambda: dropped(url) > 0)
        lines: list[str] = []
        reader = drained(process, lines)
        wait_until(lambda: asked(url, 1) == [200] and any("were dropped" in line for line in lines))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        reader.join(20)
    found = [json.loads(line) for line in lines]
    missing = [int(line["message"].split()[0]) for line in found if "were dropped" in line.get("message", "")]
    assert sum(missing) + sum(line["logger"] == "plano.access" for line in found) > 3000
    assert 0 < sum(missing) < 3000


def test_a_gateway_whose_log_nobody_reads_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (process, url, _):
        assert set(asked(url, 400)) == {200}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_gateway_whose_log_is_closed_answers_and_ends(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (process, url, _):
        assert process.stdout is not None
        process.stdout.close()
        assert set(asked(url, 50)) == {200}
        wait_until(lambda: dropped(url) >= 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_what_does_not_fit_is_dropped_and_told_in_its_place() -> None:
    with pipe() as (reads, writes):
        handler = handler_to(writes)
        size, total = 65_536, BUFFER // 65_536 + 20
        for number in range(total):
            handler.emit(info(f"{number} {'x' * size}"))
        lost = handler.dropped
        with os.fdopen(reads, closefd=False) as reader:
            kept = [json.loads(reader.readline())["message"] for _ in range(total - lost)]
            wait_until(lambda: not handler._writer.full)
            handler.emit(info("there is room"))
            told, last = json.loads(reader.readline()), json.loads(reader.readline())
        handler.close()
    assert [int(message.split()[0]) for message in kept] == [*range(total - lost)]
    assert 0 < lost < total
    assert (told["level"], last["message"]) == ("warning", "there is room")
    assert told["message"] == f"{lost} lines of the log were dropped: it was not read in time"


def test_the_end_waits_for_a_reader_but_not_for_one_that_stalls() -> None:
    with pipe() as (reads, writes):
        handler = handler_to(writes)
        handler.emit(info("the last words"))
        handler.close()
        assert b"the last words" in os.read(reads, 65_536)
    with pipe() as (reads, writes):
        handler = handler_to(writes)
        handler.emit(info("x" * 200_000))
        handler.close()
        os.close(reads)
        handler._writer._thread.join(20)  # type: ignore[attr-defined]  # or it would go on into the next test's pipe


def test_what_cannot_be_written_is_counted_and_the_rest_goes_on() -> None:
    with pipe() as (reads, writes):
        os.close(reads)
        writer = Threaded(writes)
        for _ in range(3):
            writer.write(bytearray(b"one\ntwo\n"))
        writer.close(20)
        assert writer.lost == 6
        assert not writer.full


def test_a_pipe_that_somebody_else_made_non_blocking_is_waited_for() -> None:
    with pipe() as (reads, writes):
        os.set_blocking(writes, False)
        writer = Threaded(writes)
        lines = b"".join(b"%d\n" % number for number in range(100_000))
        writer.write(bytearray(lines))
        found = b""
        while len(found) < len(lines):
            found += os.read(reads, 65_536)
        writer.close(20)
        assert (found, writer.lost) == (lines, 0)


def test_a_stream_without_a_descriptor_is_written_at_once() -> None:
    assert isinstance(writer_to(io.StringIO()), Direct)


def test_a_record_that_says_nonsense_is_told_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = logs.BatchHandler(stream, logs.JSONFormatter(), 0.0)
    handler.emit(logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelno": logging.INFO}))
    (line,) = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (line["level"], line["message"]) == ("error", "a line of the log could not be made")
    assert re.search(r"TypeError: %d format", line["exception"])
    assert capsys.readouterr() == ("", "")
    assert sys.exc_info() == (None, None, None)
