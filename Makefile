# Two commands do everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
READY := $(VENV)/.ready

.PHONY: demo test check bench mutants clean help

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements/dev.txt pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time: PyTorch is large) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Trainshed needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check 'uv>=0.5'
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements/dev.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(READY) ## Run the main job on real pictures: import, train, ask; ARGS=--once stops afterwards.
	@$(BIN)/python demo/digits.py $(ARGS)

test: $(READY) check ## Everything that must pass, on SQLite and on a private PostgreSQL.
	@$(BIN)/python tests/run.py $(ARGS)

check: $(READY) ## Style, types, and the walls between the rooms.
	@$(BIN)/ruff check src tests benchmarks demo
	@$(BIN)/ruff format --check src tests benchmarks demo
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# The anchors that figures are compared with live in an environment of their own.
.venv-bench/.ready: requirements/bench.txt $(READY)
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@$(BIN)/uv pip install -q --compile-bytecode --python .venv-bench/bin/python -r requirements/bench.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python .venv-bench/bin/python --no-deps -e .
	@touch $@

bench: .venv-bench/.ready ## Measure this machine's figures beside their anchors; ARGS="--json", "--keep", or names.
	@.venv-bench/bin/python benchmarks/run.py $(ARGS)

mutants: $(READY) ## Remove each fence of the ledger in turn; the suite must go red each time.
	@$(BIN)/python tests/faults/mutants.py $(ARGS)

clean: ## Remove what these commands made.
	rm -rf $(VENV) .venv-bench .demo .mypy_cache .ruff_cache .import_linter_cache
