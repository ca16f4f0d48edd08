# `make help` lists the targets. They run in .venv, which is made when it is missing or outdated.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

MINUTES ?= 1.5
SEED    ?= 1

ROUNDS  ?= 3
BESIDE  := .venv-bench .venv-bench-arq

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long test-all chaos bench screenshots check format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Rushes needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "making the environment in $(VENV) (once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(READY) ## make the environment only

demo: $(READY) ## turn one prompt into a stored video, in seconds; the first time it makes the environment
	@$(BIN)/rushes demo

test: TESTS = "not long"
test: $(READY) ## a test of each promise, in minutes
test-long: TESTS = long
test-long: $(READY) ## the longer ones: the drill, whole stacks, thousands of jobs
test-all: test-long test ## both: all tests
test test-long:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || \
	  echo "no PostgreSQL here: its tests are skipped (apt-get install postgresql)"
	@PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || \
	  echo "no PgBouncer here: its tests are skipped (apt-get install pgbouncer)"
	@command -v promtool >/dev/null || echo "no Prometheus here: its tests are skipped (apt-get install prometheus)"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m $(TESTS)

chaos: $(READY) ## kill everything at random, then check each invariant (MINUTES=1.5 SEED=1 LIMITS=1)
	@$(BIN)/python -m ops.chaos.drill --minutes $(MINUTES) --seed $(SEED) $(if $(LIMITS),--limits)

# One environment per lock file, because the contenders need other libraries than Rushes.
$(BESIDE:%=%/.ready): .venv-%/.ready: requirements/%.txt
	@echo "making the environment in .venv-$* (once)"
	@$(PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench: MINUTES = 20
bench: $(READY) $(BESIDE:%=%/.ready) ## compare Rushes with others, judge every bar (QUICK=1 ROUNDS=3 MINUTES=20 ONLY=a,b SCENARIOS=a,b)
	@$(BIN)/python -m ops.bench $(if $(QUICK),--size quick --rounds 1 --minutes 0,--rounds $(ROUNDS) --minutes $(MINUTES)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(BESIDE:%=--beside %/bin/python) \
	  $(if $(QUICK),--out .bench,--page docs/explanation/performance.md)

screenshots: $(READY) ## write docs/images from a run against the sandbox, in Chromium
	@$(BIN)/python -m tests.page.screenshots

check: $(READY) ## formatting, lint and strict types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m ops.blocking_client --check
	@$(BIN)/mypy

format: $(READY) ## write the formatting and the blocking client, fix what lint can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m ops.blocking_client

lock: $(READY) ## update requirements/*.txt from pyproject.toml
	@cd requirements && ../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade \
	  ../pyproject.toml --extra sandbox --extra traces -o image.txt
	@cd requirements && ../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade \
	  ../pyproject.toml --extra sandbox --extra local --extra traces --group ../pyproject.toml:dev -o dev.txt
	@for group in bench bench-arq; do (cd requirements && ../$(BIN)/uv pip compile --quiet --universal --generate-hashes \
	  --no-annotate --no-header --upgrade --python-version 3.11 --group ../pyproject.toml:$$group -o $$group.txt); done

clean: ## remove the environment and all caches
	@rm -rf $(VENV) $(BESIDE) .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis
