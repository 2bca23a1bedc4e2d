# Needs Python 3.11 or newer and make, nothing else; every target makes .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test librdkafka peers check format docs bench clean
.DEFAULT_GOAL := test

$(VENV)/.run-ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "logctl needs Python 3.11 or newer; set PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing logctl into $(VENV) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev-ready: pyproject.toml $(VENV)/.run-ready
	@echo "Installing what the tests need into $(VENV) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.run-ready
	@$(BIN)/logctl demo

# A worker more than cores, for many tests wait; the tests of a file stay together, for they share clusters.
test: WORKERS ?= $$(($$(getconf _NPROCESSORS_ONLN) + 1))
test: $(VENV)/.dev-ready
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# All of librdkafka's own tests that must pass; `make test` plays the quick ones. Takes a quarter of an hour.
librdkafka: $(VENV)/.dev-ready
	@$(BIN)/python -m tests.librdkafka

# Apache Kafka's jars, by Maven, and the clients of other languages, for the tests and measurements that need them.
peers:
	@$(PYTHON) -m benchmarks.peers
	@$(PYTHON) -m tests.interop.foreign

check: $(VENV)/.dev-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/filemap.py --check
	$(BIN)/python docs/reference.py --check
	$(BIN)/python docs/compatibility.py --check

format: $(VENV)/.dev-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.run-ready
	@$(BIN)/python docs/filemap.py
	@$(BIN)/python docs/reference.py

bench: $(VENV)/.dev-ready
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
