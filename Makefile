# Two commands do everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
READY := $(VENV)/.ready
WEB := src/trainshed/server/web
ASSETS := $(WEB)/assets/manifest.json

.PHONY: demo test check pages screenshots bench mutants fuzz security clean help

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

# The pages' scripts and styles; the style sheet holds the classes that the templates name.
$(ASSETS): $(shell find frontend/src $(WEB)/templates -type f) frontend/package-lock.json frontend/vite.config.ts | $(READY)
	@$(BIN)/python frontend/build.py

pages: $(ASSETS) ## Build the pages' scripts and styles.

demo: $(READY) $(ASSETS) ## Run the main job on real pictures: import, train, ask; ARGS=--once stops afterwards.
	@$(BIN)/python demo/digits.py $(ARGS)

test: $(READY) $(ASSETS) check ## Everything that must pass, on SQLite and on a private PostgreSQL.
	@$(BIN)/python tests/run.py $(ARGS)

check: $(READY) ## Style, types, and the walls between the rooms.
	@$(BIN)/ruff check src tests benchmarks demo frontend
	@$(BIN)/ruff format --check src tests benchmarks demo frontend
	@$(BIN)/mypy
	@$(BIN)/python frontend/build.py check
	@$(BIN)/lint-imports --no-logo

# The anchors that figures are compared with live in an environment of their own.
.venv-bench/.ready: requirements/bench.txt $(READY) $(ASSETS)
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@$(BIN)/uv pip install -q --compile-bytecode --python .venv-bench/bin/python -r requirements/bench.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python .venv-bench/bin/python --no-deps -e .
	@touch $@

bench: .venv-bench/.ready ## Measure this machine's figures beside their anchors; ARGS="--json", "--keep", or names.
	@.venv-bench/bin/python benchmarks/run.py $(ARGS)

screenshots: $(READY) $(ASSETS) ## Take the pictures of the README and the docs from the running product.
	@$(BIN)/python tests/browser/screenshots.py $(ARGS)

mutants: $(READY) ## Remove each fence of the ledger in turn; the suite must go red each time.
	@$(BIN)/python tests/faults/mutants.py $(ARGS)

fuzz: $(READY) ## Make up requests to every address of the API; ARGS=500 examples for each, or 500:1234 with that seed.
	@FUZZ=$(or $(ARGS),200) $(BIN)/python -m pytest tests/server/test_fuzz.py --timeout=3600

security: $(READY) $(ASSETS) ## Who reaches what, the attacks on sign-in, the deployment check and a dump: one JSON line each.
	@$(BIN)/python tests/security.py $(ARGS)

clean: ## Remove what these commands made.
	rm -rf $(VENV) .venv-bench .demo frontend/node_modules $(WEB)/assets build .mypy_cache .ruff_cache .import_linter_cache
