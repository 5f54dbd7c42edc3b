# Everything a newcomer or CI needs. The virtual environment is made by itself, and again when pyproject.toml changes.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test lint format bench clean

run: $(READY)            ## the gateway on 127.0.0.1:12000 with config/plano_config.yaml
	@exec $(BIN)/plano up config/plano_config.yaml

test: $(READY)           ## the whole suite; starts its own Redis and PostgreSQL
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check --group dev --editable .
	@touch $@
