# The virtual environment is made by itself, and brought up to date when pyproject.toml changes.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/pip --quiet --disable-pip-version-check

# Python of any version understands this; without it, one that is too old leaves an environment that cannot be used.
OLD := plano needs Python 3.11 or later; $(PYTHON) is %d.%d. Name another: make run PYTHON=python3.11
CHECK := import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "$(OLD)" % v[:2])

# Processes that share the suite; the one that is done first takes tests from the others. WORKERS=0 for one process.
WORKERS ?= 2

# Real coding agents, for the tests that run them; AGENTS="@openai/codex@latest" tries others.
AGENTS := @anthropic-ai/claude-code@2.1.332 @openai/codex@0.171.0

.PHONY: run test test-lowest test-agents lint docs format bench bench-peers bench-instructions bench-growth bench-leftovers bench-storm clean

run: $(VENV)/.run-ready    ## the gateway on 127.0.0.1:12000, with config/plano_config.yaml
	@exec $(BIN)/plano up config/plano_config.yaml

test: $(VENV)/.dev-ready   ## the whole suite; it starts its own Redis, PostgreSQL and Chromium
	@scripts/install-chromium.sh
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal

test-lowest:               ## the same, with the lowest versions of its dependencies that pyproject.toml admits
	@$(MAKE) test VENV=.venv-lowest LOWEST=.venv-lowest/lowest.txt

test-agents: $(VENV)/.dev-ready .agents/.ready    ## Claude Code and Codex against every kind of upstream; needs npm
	$(BIN)/python -m pytest -m agents tests/agents

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev-ready   ## docs/reference.md, from the docstrings, and docs/providers.md, from the catalogue
	$(BIN)/python scripts/reference.py
	$(BIN)/python -m scripts.providers

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev-ready  ## how fast it is, and beside what; BENCH="--quick requests streams" for less
	$(BIN)/python -m benchmarks $(BENCH)

bench-peers: $(VENV)/.dev-ready    ## what it is measured beside: nginx, Portkey, LiteLLM
	$(BIN)/python -m benchmarks.peers

bench-instructions: $(VENV)/.dev-ready    ## instructions of a fixed workload, by perf or valgrind
	$(BIN)/python -m benchmarks.instructions

bench-growth: $(VENV)/.dev-ready    ## instructions of inputs that grow, by perf or valgrind; BENCH="logprob" for some
	$(BIN)/python -m benchmarks.growth $(BENCH)

bench-leftovers: $(VENV)/.dev-ready    ## memory over thousands of large requests that end in every way
	$(BIN)/python -m benchmarks.leftovers $(BENCH)

bench-storm: $(VENV)/.dev-ready    ## outages of upstreams: the errors of clients, and the calls; then what limits and failover cost
	$(BIN)/python -m benchmarks.storm $(BENCH)
	$(BIN)/python -m benchmarks.resilience

clean:
	rm -rf $(VENV) .venv-lowest .agents build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

.agents/.ready: Makefile
	npm install --prefix .agents --no-fund --no-audit $(AGENTS)
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c '$(CHECK)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.run-ready: pyproject.toml | $(VENV)/bin/pip
	$(PIP) install --editable .
	@touch $@

$(VENV)/.dev-ready: pyproject.toml | $(VENV)/bin/pip
	$(if $(LOWEST),$(BIN)/python scripts/lowest.py > $(LOWEST))
	$(PIP) install --group dev --editable '.[postgres,otel,prices,zstd]' $(if $(LOWEST),--constraint $(LOWEST))
	@touch $@ $(VENV)/.run-ready
