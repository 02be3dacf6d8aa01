# The project's commands. Each one sets up what it needs; run `make help` for the list.
#
# Settings:  PYTHON=python3.12        the interpreter that makes the virtual environment
#            VENV=.venv-3.12          where that environment lives
#            JOBS=1                   how many processes run the tests; auto is one per core
#            PYTEST_ARGS="-k slab -x" what `make test` passes to pytest

VENV ?= .venv
PYTEST_ARGS ?=
JOBS ?= auto

# The first interpreter on PATH that is new enough. A version manager's stand-in that does not
# run counts as absent. Looked up only when an environment must be made.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

bin := $(VENV)/bin
stamp := $(VENV)/.installed

.PHONY: help test check demo sanitize build clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(stamp) ## Run the tests
	$(bin)/pytest -n $(JOBS) $(PYTEST_ARGS)

check: $(stamp) ## Lint, formatting, types
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

demo: $(stamp) ## Fail every allocation of a driver and a C extension, every call of a store, one at a time
	$(bin)/python examples/demo.py

sanitize: $(stamp) ## Test the C modules under AddressSanitizer, built apart from those in use
	tests/native/sanitize.sh $(bin)/python -n $(JOBS) --dist=worksteal

build: $(stamp) ## Make the source archive and the wheel under dist/
	$(bin)/python -m build --outdir dist

clean: ## Remove what the other commands made, except other environments
	rm -rf $(VENV) build dist out/sanitize-* examples/interner/build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# The stamp is touched last: an installation that was cut short is done again.
$(stamp): pyproject.toml $(wildcard faultinject/native/*.[ch] faultinject/functions/*.[ch])
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "make: faultinject needs Python 3.11 or newer; found: $$("$(or $(PYTHON),python3)" --version 2>&1 | head -n 1)." >&2; \
		echo "make: Choose one that is installed: make $(or $(MAKECMDGOALS),test) PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi
	"$(PYTHON)" -m venv $(VENV)
	$(bin)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(bin)/python -m pip install --quiet --editable . --group dev
	@touch $@
