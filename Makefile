# Everything a user or a developer types. Each target sets up what it needs: `make demo` and `make test` work from
# nothing but Python 3.10+ (with headers and venv), a C compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard csrc/*.[ch] csrc/kernels/*.[ch])

.PHONY: demo test check fuzz faults soak sanitize coverage bench lint docs build clean
MINUTES ?= 30

demo: $(VENV)/.demo
	$(BIN)/python -m pydl demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not check"

check: $(VENV)/.test
	$(BIN)/python -m pytest -m check

# What takes too long for every change: each ends with figures, and fails when a promise of docs/reliability.md is broken.
fuzz: $(VENV)/.test
	$(BIN)/python tests/fuzz.py 50000
	$(BIN)/python tests/hostile.py 100000
	$(BIN)/python tests/strangers.py 20000

faults: $(VENV)/.test
	$(BIN)/python tests/kills.py 1000

soak: $(VENV)/.test
	$(BIN)/python tools/soak.py --minutes $(MINUTES) --out docs/images/soak.png

bench: $(VENV)/.test
	$(BIN)/python -m pydl bench
	$(BIN)/python -m pytest bench --benchmark-only --benchmark-columns=median,iqr --benchmark-sort=name

sanitize: $(VENV)/.test
	tests/sanitize.sh

coverage: $(VENV)/.test
	tests/coverage.sh

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*.[ch] csrc/kernels/*.[ch] tests/kernels/*.[ch]

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs
	@echo "the pages are in build/docs: begin with build/docs/index.html"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "pydl needs Python 3.10 or later: $(PYTHON) is older; name another with PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "pydl needs Python's venv module (Debian: apt install python3-venv)"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[demo]"
	@touch $@

$(VENV)/.test: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[demo,test]"
	@touch $@

$(VENV)/.lint: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[demo,test,lint]"
	@touch $@

$(VENV)/.docs: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	@touch $@

clean:
	rm -rf build dist *.egg-info pydl/_native*.so
