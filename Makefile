# One command a line: `make` lists them. Each makes or mends .venv first; nothing needs activating.
# ARGS goes to the command, for example: make report ARGS="--preset lesson"; make test ARGS="-k fuse"

PY := .venv/bin/python

# The same numbers on every machine: one thread, one hash seed. Override on the command line for long runs:
# make lab OMP_NUM_THREADS=8
OMP_NUM_THREADS ?= 1
MKL_NUM_THREADS ?= $(OMP_NUM_THREADS)
OPENBLAS_NUM_THREADS ?= $(OMP_NUM_THREADS)
PYTHONHASHSEED ?= 0
export OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED

# The tests run in as many processes as there are cores, each taking a file or a notebook at a time (tests/conftest.py).
TEST_PROCESSES ?= auto

# Someone else's kernels, plotting backend or packages must not be picked up instead of those in .venv.
unexport JUPYTER_PATH JUPYTER_PREFER_ENV_PATH MPLBACKEND PYTHONPATH PYTHONHOME
# Byte code makes every later kernel start some seconds faster.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lab report apps site test lint notebooks lock clean

help: ## list the targets
	@echo "HSDS-MEF course. Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything needed (every target below does this first)
	@bash bootstrap.sh

lab: setup ## open JupyterLab on the first notebook
	$(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

report: setup ## execute the notebooks into reports/*.html
	$(PY) -m hsds_lib report $(ARGS)

apps: setup ## the explorers as a page of apps, by Voila, in the browser
	$(PY) -m hsds_lib.reports.apps $(ARGS)

site: setup ## the executed notebooks as a website in site/, searchable offline (after `make report`)
	$(PY) -m hsds_lib site $(ARGS)

test: setup ## linter, notebooks against their sources, then tests, docstring examples and all notebooks in one run
	$(PY) -m ruff check
	$(PY) -m notebooks.tools.build --check
	$(PY) -m notebooks.tools.index --check
	$(PY) -m notebooks.tools.guides --check
	HSDS_WIDGETS=static $(PY) -m pytest tests hsds_lib data_scripts --doctest-modules -n $(TEST_PROCESSES) --durations=10 $(ARGS)

lint: setup ## linter and type checker
	$(PY) -m ruff check $(ARGS)
	$(PY) -m mypy

notebooks: setup ## build notebooks/*.ipynb from notebooks/src/*.py, the index of the paper, and tables in the guides
	$(PY) -m notebooks.tools.build $(ARGS)
	$(PY) -m notebooks.tools.index
	$(PY) -m notebooks.tools.guides

lock: ## rewrite requirements.lock, torch.lock and constraints.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	@bash bootstrap.sh lock $(ARGS)

clean: ## remove reports and caches; .venv, runs and data stay
	rm -rf reports site build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find hsds_lib tests notebooks data_scripts benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-prune -exec rm -rf {} + 2>/dev/null || true
