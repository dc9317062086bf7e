# `make` alone lists what there is. Every target sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help lab shell test test-all lint check notebooks notebooks-laptop data results pictures site bench hostile lock clean setup

PORT ?= 8888
VENV := $(or $(LABKIT_VENV),.venv)
BIN := $(VENV)/bin
UV_VERSION := 0.13.8

# A new lock, pyproject or set-up script means a new stamp, and so a new installation.
STAMP := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml tools/setup.sh | cksum | cut -d' ' -f1)

# Threads that spin while they wait make torch crawl on shared cores. Compiled code of Python and librosa is kept in
# the installation, even where an environment lets Python write none: else each process compiles torch for seconds.
export OMP_WAIT_POLICY := PASSIVE
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/.pycache
export NUMBA_CACHE_DIR := $(abspath $(VENV))/.numba

# Notebooks are committed with outputs made at a larger budget than tests use, and timings differ from machine to
# machine: so outputs are compared (strictly) in the cells tagged `nbval-check-output`, and the others must run.
NOTEBOOKS := $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb)
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/nbval_sanitize.cfg --timeout=0

# Without nbval, which takes seconds to load in each process.
PYTEST := $(BIN)/python -m pytest -p no:nbval

# Tests of one file run in one process; each process has one core, so torch gets one thread. The long files come first
# (tests/conftest.py), so that all processes end at about the same time.
PARALLEL := -n $(or $(JOBS),auto) --dist loadfile --no-loadscope-reorder

# `labkit`, `tensorboard` and the like are found by all that make starts: notebooks, Lab's terminals, `make shell`.
export PATH := $(abspath $(BIN)):$(PATH)

# BROWSER=no serves without opening one; IP=0.0.0.0 serves other machines, as a container must. Its root may serve,
# too. The rest is in tools/jupyter.
export JUPYTER_CONFIG_PATH := $(CURDIR)/tools/jupyter
LAB_FLAGS := --port=$(PORT) $(if $(IP),--ip=$(IP)) $(if $(filter no,$(BROWSER)),--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile
	@echo "Variables: PORT=8888  BROWSER=no  JOBS=2  PYTHON=python3.11  TORCH=cpu|cuda  LAB_BUDGET=smoke|laptop|full"

lab: setup ## set up if needed, then open JupyterLab on the first notebook
	$(BIN)/jupyter lab $(LAB_FLAGS)

shell: setup ## open a shell that finds `labkit`, `tensorboard` and this Python
	@$${SHELL:-bash} || true

test: export LAB_BUDGET := smoke
test: export OMP_NUM_THREADS := 1
test: setup lint ## run all that CI runs: lint, tests, every notebook
	$(PYTEST) -m "not long" $(PARALLEL)
	$(MAKE) --no-print-directory notebooks

test-all: export LAB_BUDGET := smoke
test-all: export OMP_NUM_THREADS := 1
test-all: test ## run `make test`, and the tests that are too long for it
	$(PYTEST) -m long

lint: setup ## lint, format, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

check: setup lint ## fast checks: lint, and the tests of the repository itself
	$(PYTEST) -q tests/test_house.py tests/test_doctor.py tests/notebooks/test_template.py

notebooks: export LAB_BUDGET := smoke
notebooks: export OMP_NUM_THREADS := 1
notebooks: setup ## run every notebook from top to bottom at the smallest budget
	$(BIN)/python -m pytest $(NBVAL) $(PARALLEL) $(NOTEBOOKS)

notebooks-laptop: export OMP_NUM_THREADS := 1
notebooks-laptop: setup ## run every notebook at the laptop budget, where each claim must hold; log in runs/ (ten minutes)
	mkdir -p runs
	LAB_BUDGET=laptop $(BIN)/python -m pytest $(NBVAL:300=1800) $(PARALLEL) --durations=0 $(NOTEBOOKS) | tee runs/notebooks-laptop.log

data: setup ## rebuild the phrases in data/ from seeds
	$(BIN)/python tools/phrases.py

results: setup ## write the main figures of data/results into README and data/README
	$(BIN)/python tools/headlines.py

pictures: setup ## make the pictures of README from notebook 00
	$(BIN)/python tools/pictures.py notebooks/00_start_here.ipynb "compare_spectrograms(clips)" data/pictures/spectrograms.png
	LAB_FILM=data/pictures/notebook_00.gif $(BIN)/python -m pytest tests/browser/test_notebook_00.py

site: setup ## make site/: executed notebooks as web pages with sound (LAB_BUDGET=laptop: half an hour)
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[site]'
	$(BIN)/python tools/site/build.py --out site

bench: setup ## benchmarks (not part of the tests)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only

hostile: export OMP_NUM_THREADS := 1
hostile: setup ## run every command on 400 broken or odd files (half an hour)
	$(BIN)/python tools/hostile.py

lock: setup ## pin everything anew, after a change in pyproject.toml
	printf '# %s\n' "Every package of the environment, pinned with its hashes, for Linux, macOS and Windows." \
		"Made from pyproject.toml by \`make lock\`; change versions there, not here." >$(VENV)/lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --generate-hashes \
		--no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock
	cat requirements.lock >>$(VENV)/lock
	mv $(VENV)/lock requirements.lock
	{ echo "# The versions of requirements.lock, for conda, whose pip refuses hashes beside -e."; \
		grep -oE '^[a-z0-9._-]+==[^\\]*[^\\ ]' requirements.lock; } >constraints.txt

clean: ## remove caches (runs/ and .venv/ stay)
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks $(VENV)/.numba $(VENV)/.pycache
	find labkit tests tools notebooks -name __pycache__ -prune -exec rm -rf {} +
	find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +

setup: $(STAMP)

$(STAMP):
	@bash tools/setup.sh $(VENV) $(UV_VERSION)
	@rm -f $(VENV)/.ready-* && touch $@
