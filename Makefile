# `make run` shows the simulator at work; `make test` is what continuous integration runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

run: $(VENV)/.installed
	$(BIN)/stragglersim run scenarios/quickstart.yaml --out results/quickstart --force

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n auto --timeout 300

benchmark: $(VENV)/.installed-test
	$(BIN)/pytest benchmarks/test_engine_speed.py benchmarks/test_partial_speed.py benchmarks/test_vectorised_speed.py --benchmark-only --benchmark-columns=min,median,rounds -o addopts=
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/many_rows.py
	$(BIN)/python benchmarks/numerics.py
	$(BIN)/python benchmarks/training.py

clean:
	rm -rf $(VENV) results

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable '.[test]'
	touch $(VENV)/.installed $@

.PHONY: run test benchmark clean
