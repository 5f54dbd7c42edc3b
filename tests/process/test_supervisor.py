"""Workers that start slowly, not at all, or again and again."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from tests.process.gateway import Gateway, plano_fails, plano_up
from tests.process.test_reload import workers_of
from tests.servers import free_port, wait_until

CONFIG = """\
model_providers: [{model: demo/echo, default: true}]
state_storage: {type: none}
filters: [{id: mine, use: 'mine:look'}]
"""
FILTER = """\
import multiprocessing, os, pathlib, time

if multiprocessing.parent_process() is not None:
    WORKER

async def look(request, call_next):
    return await call_next(request)
"""


def filter_that(folder: Path, does: str) -> None:
    """A filter's module that does something when a worker imports it, and nothing in the parent."""
    (folder / "mine.py").write_text(FILTER.replace("WORKER", does))


def test_workers_that_import_slowly_are_waited_for_and_it_says_that_it_listens_when_it_does(tmp_path: Path) -> None:
    filter_that(tmp_path, "time.sleep(6)")
    port = free_port()
    gateway = Gateway(tmp_path, CONFIG, "--workers", "2", "--port", str(port))
    try:
        refused = 0
        while not gateway.url:
            assert gateway.process.poll() is None, gateway.log
            with socket.socket() as client:
                refused += client.connect_ex(("127.0.0.1", port)) != 0
            time.sleep(0.1)
        assert refused > 30
        assert gateway.models() == ["demo/echo"]
        assert gateway.messages == []
        gateway.signal(signal.SIGTERM)
        assert gateway.ended() == 0
    finally:
        gateway.kill()


def test_workers_that_cannot_start_end_the_start(tmp_path: Path) -> None:
    filter_that(tmp_path, "raise OSError('no licence')")
    said = plano_fails(tmp_path, CONFIG, "--workers", "2")
    assert "no licence" in said
    assert "ended with status 3 before it listened, so the gateway does not start" in said


def test_a_worker_that_cannot_start_again_is_tried_again_at_longer_and_longer_intervals(tmp_path: Path) -> None:
    filter_that(tmp_path, "os.close(os.open('tries', os.O_CREAT | os.O_APPEND | os.O_WRONLY))")
    with plano_up(tmp_path, CONFIG, "--workers", "2") as gateway:
        filter_that(tmp_path, "raise OSError('no licence')")
        os.kill(workers_of(gateway.process.pid)[0].pid, signal.SIGKILL)
        wait_until(lambda: sum("takes its place" in message for message in gateway.messages) >= 2)
        assert gateway.models() == ["demo/echo"]  # by the other one
        filter_that(tmp_path, "pass")
        wait_until(lambda: any(message.endswith(" listens") for message in gateway.messages))
        assert len(workers_of(gateway.process.pid)) == 2


def models_of(gateway: Gateway) -> list[str]:
    """Its models; none if the worker that took the connection ended before it read from it."""
    try:
        return gateway.models()
    except ConnectionError:
        return []


def test_a_worker_that_cannot_take_in_what_the_parent_could_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("async def look(request, call_next):\n    return await call_next(request)\n")
    (tmp_path / "other.py").write_text(
        "import multiprocessing, pathlib\n"
        "if multiprocessing.parent_process() is not None and not pathlib.Path('well').exists():\n"
        "    raise OSError('ill')\n"
        "from mine import look\n"
    )
    with plano_up(tmp_path, CONFIG, "--workers", "1") as alone, plano_up(tmp_path, CONFIG, "--workers", "2") as gateway:
        assert alone.models() == ["demo/echo"]
        gateway.configure(CONFIG.replace("mine:look", "other:look").replace("demo/echo", "demo/new"))
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: "ill" in gateway.log)
        (tmp_path / "well").touch()
        wait_until(lambda: all(models_of(gateway) == ["demo/new"] for _ in range(6)))
        assert gateway.process.poll() is None


def test_ctrl_c_in_a_terminal_reaches_workers_too_and_is_one_signal(tmp_path: Path) -> None:
    filter_that(tmp_path, "pass")
    with plano_up(tmp_path, CONFIG, "--workers", "2") as gateway:
        os.killpg(gateway.process.pid, signal.SIGINT)
        assert gateway.ended() == 0
        assert "Traceback" not in gateway.log
