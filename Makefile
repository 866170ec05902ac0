# Two commands are for everybody: `make demo` and `make test`. Each sets up what it needs, and no more.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check fix bench fuzz stress environment services clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

environment:
	@$(PYTHON) tools/setup.py environment

services:
	@$(PYTHON) tools/setup.py services

demo: ## show a live fleet in the console; SECONDS=20 ends by itself
	@$(PYTHON) tools/setup.py demo $(if $(SECONDS),--seconds $(SECONDS))

test: environment services ## set up everything, services included, and run every test
	@$(BIN)/python tools/matrix.py

check: environment ## format, lint, types, import contracts, unit and simulation tests, doctests; under a minute
	@$(BIN)/python tools/check.py

fix: environment ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix; $(BIN)/ruff format --quiet

bench: environment ## print costs as ratios against peers measured in the same run
	@$(BIN)/python tools/bench.py

fuzz: environment ## throw bytes at the decoders for a minute, from a fresh seed
	@$(BIN)/python fuzz/fuzz_wire.py 60

stress: environment ## pools under threads, tasks, cancellation and closing for three minutes, from fresh seeds; SECONDS=600 for longer
	@cd tests && ../$(BIN)/python -m stress $(or $(SECONDS),180)

clean: ## remove the virtual environments and caches
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
