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

# the site, in site/: links, anchors and spelling are checked, and nothing is loaded from other hosts
docs: $(VENV)/.installed-docs
	$(BIN)/codespell
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The site is in site/; with search: python3 -m http.server --directory site"

benchmark: $(VENV)/.installed-test
	$(BIN)/pytest benchmarks/test_engine_speed.py benchmarks/test_partial_speed.py benchmarks/test_vectorised_speed.py --benchmark-only --benchmark-columns=min,median,rounds -o addopts=
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/many_rows.py
	$(BIN)/python benchmarks/numerics.py
	$(BIN)/python benchmarks/training.py

# a wheel and an sdist, checked, and the wheel tested where there is no checkout
dist: $(VENV)/bin/python
	rm -rf dist build
	$(INSTALL) 'build>=1.2' 'twine>=6'
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/installed
	build/installed/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls dist/*.whl)[test]"
	cd build/installed && bin/stragglersim --version && bin/stragglersim examples quickstart \
	&& bin/stragglersim run quickstart.yaml --out results \
	&& bin/python -m pytest -q --doctest-modules -p no:cacheprovider --pyargs stragglersim simulator schemes straggler_models workloads

clean:
	rm -rf $(VENV) results dist build site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable '.[docs]'
	touch $(VENV)/.installed $@

.PHONY: run test docs benchmark dist clean
