# Every target does its own set-up: a fresh clone needs only git, python >= 3.11 and the network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Byte code is compiled at installation, which halves every import afterwards.
export UV_COMPILE_BYTECODE := 1
export RAY_USAGE_STATS_ENABLED := 0
# A driver decides between the exclusive extras cpu and gpu; EXTRA=cpu or EXTRA=gpu overrides.
EXTRA ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-gpu check format bench constraints clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make .venv and install winnow into it, with all that tests need

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$(EXTRA),leiden,demo,dev]' -c constraints.txt
	@touch $@

demo: setup ## Make 300 images with known truth, run the whole line on them, compare
	@$(BIN)/winnow demo demo-out

test: setup ## Run all tests that need no GPU
	@$(BIN)/python -m pytest -m "not gpu"

test-gpu: setup ## Run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

check: setup ## Lint, types, and the test of the import arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_arrows.py

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Run the benchmarks; each prints a ratio and its bound
	@for script in bench/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

constraints: setup ## Resolve the newest versions of all dependencies into constraints.txt
	@$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --no-header --no-annotate \
		--extra cpu --extra leiden --extra demo --extra dev --extra paddle --extra vlm --extra s3 \
		-o constraints.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
