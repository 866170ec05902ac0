# Two commands are for everybody: `make demo` and `make test`. Each sets up what it needs, and no more.
PYTHON ?= python3
BIN := .venv/bin

# Tests start thousands of programs that import the same modules, and pytest rewrites each file of tests: once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check fix bench fuzz faults stress soak environment services clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

environment:
	@$(PYTHON) tools/setup.py environment

services:
	@$(PYTHON) tools/setup.py services

demo: ## show a live fleet in the console; SECONDS=20 ends by itself
	@$(PYTHON) tools/setup.py demo $(if $(SECONDS),--seconds $(SECONDS))

test: environment services ## set up everything, services included, and run every test; ALL=1: on each interpreter, SQLAlchemy and driver
	@$(BIN)/python tools/matrix.py $(if $(ALL),all)

check: environment ## format, lint, types, import contracts, doctests, and the short tests in virtual time
	@$(BIN)/python tools/check.py

fix: environment ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix; $(BIN)/ruff format --quiet

bench: environment ## print costs as ratios against peers measured in the same run
	@$(BIN)/python tools/bench.py

fuzz: environment ## throw bytes at every decoder for three minutes, guided by coverage, from a fresh seed; SECONDS=1800 for longer
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),180)

faults: environment ## stage system faults on a real fleet, and write docs/reference/faults.md; as root
	@$(BIN)/python tools/faults.py

stress: environment ## pools under threads, tasks, cancellation and closing for three minutes, from fresh seeds; SECONDS=600 for longer
	@cd tests && ../$(BIN)/python -m stress $(or $(SECONDS),180)

TIMES := 20
soak: environment services ## the long forms of tests, TIMES=20 times those of make test, then make stress and make fuzz, a minute for each time
	@POOLHOUSE_SIMULATION_STEPS=$$((1000000 * $(TIMES))) POOLHOUSE_CLUSTER_SCHEDULES=$$((100000 * $(TIMES))) \
		POOLHOUSE_DISTINCT_VALUES=$$((50000 * $(TIMES))) POOLHOUSE_EXAMPLES=$$((100 * $(TIMES))) \
		$(BIN)/python -m pytest -q --numprocesses=2 --timeout 0 tests/simulation tests/unit tests/contract
	@for _ in $$(seq $(TIMES)); do \
		$(BIN)/python -m pytest -q tests/integration/test_looks_beside_everything.py || exit 1; done
	@POOLHOUSE_HEALTHY_SECONDS=$$((120 * $(TIMES))) $(BIN)/python -m pytest -q --timeout 0 tests/causes -k healthy
	@$(MAKE) stress fuzz SECONDS=$$((60 * $(TIMES)))

clean: ## remove the virtual environments and caches
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
