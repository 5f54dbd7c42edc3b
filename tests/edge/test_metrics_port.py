"""The directory in which workers count together, also where hardly anything can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plano.edge.exposition import DIRECTORY
from plano.edge.metrics_port import IN_MEMORY, shared_directory
from plano.errors import ConfigError

CONFIG = "model_providers: [{model: demo/echo, default: true}]\nstate_storage: {type: none}\n"


def test_the_first_folder_that_can_be_written_is_used_and_left_as_it_was(tmp_path: Path) -> None:
    with shared_directory((str(tmp_path / "nowhere"), str(tmp_path))) as directory:
        assert Path(directory).parent == tmp_path
        assert os.environ[DIRECTORY] == directory
    assert DIRECTORY not in os.environ
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folders", [(), ("/proc",), ("/nowhere", "/proc/self")])
def test_where_nothing_can_be_written_it_is_said_in_one_line(folders: tuple[str, ...]) -> None:
    with (
        pytest.raises(ConfigError, match="no folder for temporary files can be written") as error,
        shared_directory(folders),
    ):
        pass
    assert "\n" not in str(error.value)
    assert DIRECTORY not in os.environ


def test_linux_keeps_one_in_memory() -> None:
    assert os.access(IN_MEMORY, os.W_OK) or sys.platform != "linux"


def test_a_directory_that_is_named_and_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(CONFIG)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "plano"), "up", "--workers", "2", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, DIRECTORY: str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {DIRECTORY}: the folder {tmp_path / 'nowhere'} does not exist, or cannot be written\n"
    )


def test_a_directory_that_is_named_is_used_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    with shared_directory() as directory:
        assert directory == str(tmp_path)
    assert tmp_path.is_dir()
