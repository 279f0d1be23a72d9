# Two commands set everything up: `make demo` and `make test`. Both make .venv once and go on from there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.PHONY: help demo test test-slow lint types format gallery clean

help:
	@echo "make demo       run the quick benchmark suite (about 3 minutes) and write report.html"
	@echo "make test       ruff, mypy and pytest"
	@echo "make test-slow  the statistical and long tests"
	@echo "make format     let ruff format the code"
	@echo "make gallery    draw the pictures of docs/gallery.md (half a minute, no screen needed)"
	@echo "make clean      remove .venv and caches"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rlsuite needs Python 3.11 or later, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Installing rlsuite into $(VENV) (once; torch makes it a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/rlsuite bench quick

test: lint types
	$(BIN)/python -m pytest -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

gallery: $(READY)
	$(BIN)/python docs/gallery.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
