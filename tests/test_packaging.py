"""The wheel, built from a clean checkout and installed into an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from plano.ui.pages import FILES, PAGE
from tests.documents import ROOT

PIP = ["-m", "pip", "--quiet", "--disable-pip-version-check"]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    checkout.mkdir()
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, files):
        source, copy = ROOT / name, checkout / name
        if source.is_symlink() or source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(source.readlink()) if source.is_symlink() else copy.write_bytes(source.read_bytes())
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, checkout, cwd=folder)
    (built,) = folder.glob("plano-*.whl")
    return built


def test_the_wheel_holds_everything_below_plano_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"plano"}
    for wanted in (
        "plano/py.typed",
        "plano/filters/auth.py",
        "plano/providers/__init__.py",
        "plano/providers/models.json",
        "plano/providers/windows.json",
        "plano/testing/__init__.py",
        *(f"plano/ui/static/{name}" for name in (PAGE, *FILES)),
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, *PIP, "install", "--no-compile", str(wheel), cwd=tmp_path)
    where = run(python, "-c", "import plano.filters.auth, plano.providers as p; print(p.__file__)", cwd=tmp_path)
    assert "site-packages/plano/providers" in where
    config = tmp_path / "plano_config.yaml"
    config.write_text(
        "model_providers: [{model: demo/echo, default: true}]\nmodel_aliases: {fast: {target: demo/echo}}\n"
    )
    plano = tmp_path / "env" / "bin" / "plano"
    assert run(plano, "models", cwd=tmp_path).split() == [
        "demo/echo",
        "demo/echo",
        "echo",
        "demo/echo",
        "fast",
        "demo/echo",
    ]
    assert "demo/echo" in run(plano, "check", cwd=tmp_path)
    assert "0." in run(plano, "--version", cwd=tmp_path)
    config.write_text(f"{config.read_text()}tracing: {{random_sampling: 100}}\nprices: {{package: true}}\n")
    said = run(plano, "check", cwd=tmp_path)
    assert "tracing: has no effect: it needs `pip install 'plano[otel]'`" in said
    assert "prices.package: has no effect: it needs `pip install 'plano[prices]'`" in said


def test_importing_plano_loads_none_of_its_parts() -> None:
    start = "from plano import Plano; Plano({'model_providers': [{'model': 'demo/echo'}]})"
    assert loaded(start, "uvicorn", "redis", "psycopg", "opentelemetry", "genai_prices", "fastapi") == "[]"


def loaded(code: str, *libraries: str) -> str:
    """Which of these libraries a program has loaded after `code`."""
    look = f"import sys; print([name for name in {libraries!r} if name in sys.modules])"
    return run(sys.executable, "-c", f"{code}\n{look}", cwd=ROOT).strip()
