# Every target does its own set-up: a virtual environment in .venv, from pyproject.toml and constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests start processes, each of which would compile FineSpot again, and pytest rewrite all tests.
unexport PYTHONDONTWRITEBYTECODE

BESIDE := $(MAKE) --no-print-directory --jobs 2

.PHONY: help setup demo test test-all check types quick tests format gpu clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## virtual environment with FineSpot and the development tools

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)  ## detect on a bundled picture with the bundled weights
	@$(BIN)/finespot predict hit-uav-n samples/hit-uav/images/val --name demo --line-width 1

check: $(READY)  ## lint, types and quick tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BESIDE) types quick

test: $(READY)  ## everything that a submission must pass
	@$(BIN)/ruff check .
	@$(BESIDE) types tests

# mypy takes one core only, for a minute in a fresh clone: so beside the tests.
types: $(READY)
	@$(BIN)/mypy

quick: $(READY)
	@$(BIN)/pytest -n 2 -m "not slow and not full"

tests: $(READY)
	@$(BIN)/pytest -n 2 -m "not full"

test-all: $(READY)  ## the long tests too
	@$(BIN)/pytest -n 2

format: $(READY)  ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

gpu: $(READY)  ## run a job of benchmarks/gpu/queue.yaml: make gpu JOB=name
	@$(BIN)/python benchmarks/gpu/run.py $(JOB)

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build src/*.egg-info
