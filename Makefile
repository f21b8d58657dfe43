# Two commands on a fresh machine: `make run` (the app on the built-in demo) and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FILE ?=

.PHONY: run test test-all lint format bench coverage clean

run: $(VENV)/.run-ready
	@$(BIN)/kmemscope $(FILE)

test: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -q -n auto

test-all: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -q -n auto -m "slow or not slow"

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks

coverage: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -q -n auto --cov --cov-report=term-missing:skip-covered

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.run-ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kmemscope needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
