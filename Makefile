# The commands of this repository. `make demo` and `make test` set up everything they need.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test lint format chaos lives stories cluster bench conformance-cli schema clean translations

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

$(VENV)/ready: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another one: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV): a few minutes, once."
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on -r requirements-dev.txt -c constraints.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

setup: $(VENV)/ready ## install everything into .venv

demo: setup ## services, portal, one course that runs and one that waits; Ctrl-C stops all
	@$(BIN)/jhaas demo

test: setup ## linters aside, every check that CI makes; JOBS=1 for one after the other
	$(PYTEST) -m "not long" -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 15

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: setup ## kill operations, and the portal's processes, at random moments and report
	$(PYTEST) -m long tests/chaos -s

conformance-cli: setup ## the conformance suite on the installed pulumi CLI
	JHAAS_PULUMI=cli $(PYTEST) tests/conformance

lives: setup ## 10,000 lives of a course through the table of its statuses
	$(PYTEST) -m long tests/portal/test_lifecycle.py

stories: setup ## 200 stories of people, scheduler and workers that die at every write; processes killed at random
	$(PYTEST) -m long tests/portal/operations -s

cluster: setup ## courses on the Kubernetes cluster that KUBECONFIG and JHAAS_TEST_TARGET name
	$(PYTEST) -m "cluster and not long" tests/cluster

bench: setup ## measure what is promised; table and benchmarks/results/*.json
	$(BIN)/python -m benchmarks

schema: setup ## write docs/course-spec.schema.json, docs/targets.md and platform/schemas/ anew
	$(BIN)/jhaas schema > docs/course-spec.schema.json
	$(BIN)/python -m tools.targets
	$(BIN)/python -m tools.platform_schemas

translations: setup ## collect the portal's texts into the catalogues; fails while one is not translated
	$(BIN)/python -m tools.translations

clean: ## remove what make made
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
