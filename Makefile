# The verbs of Pairflow. Each creates .venv when it is missing or older than the locked dependencies.
#   make demo [ARGS="--seconds 60"]      make run      make test      make test-long      make bench      make lint      make lock
#   make verify-statistics [ARGS="--quick"]      every operator against its reference, and how often signals mean nothing
#   make bench-running      what a day of running costs: CPU, bytes written, latency, size; about 30 minutes, on Linux
#   make bench-dashboards [ARGS="--keep DIR"]      every statement of the dashboards on a week of 20 symbols; DIR is filled once
#   GRAFANA_URL=http://127.0.0.1:3000 GRAFANA_PASSWORD=… make screenshots      pictures of every dashboard of a running Grafana; needs Chromium
#   [PAIRFLOW_SEEDS=1000-1999] make test-long ARGS=tests/simulation      the whole line in virtual time, from these seeds
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
ARGS ?=

.PHONY: install demo run test test-long bench bench-dashboards bench-running verify-statistics screenshots lint lock clean

install: .venv/.user

.venv/.user: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found: install one, or say make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "creating .venv with $(PYTHON) (once; a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.developer: .venv/.user requirements-dev.lock
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

demo: .venv/.user
	@$(BIN)/pairflow demo $(ARGS)

run: .venv/.user
	@$(BIN)/pairflow run $(ARGS)

test: .venv/.developer
	$(BIN)/python -m pytest $(ARGS)

test-long: .venv/.developer
	$(BIN)/python -m pytest -m long -o faulthandler_timeout=900 $(ARGS)

bench: .venv/.developer
	@$(BIN)/python -m benchmarks $(ARGS)

bench-dashboards: .venv/.developer
	@$(BIN)/python -m benchmarks.dashboards $(ARGS)

bench-running: .venv/.developer
	@$(BIN)/python -m benchmarks.running $(ARGS)

verify-statistics: .venv/.developer
	@$(BIN)/python -m benchmarks.verify_statistics $(ARGS)

screenshots: .venv/.developer
	@$(BIN)/python -m grafana.tools.screenshots $(ARGS)

lint: .venv/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock: .venv/.developer
	$(PIP) pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header --extra build -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header --extra build --extra dev -o requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
