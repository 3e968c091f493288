# Two commands from a bare clone: `make train` and `make test`. Both make the virtual environment where it is missing.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
ARGS ?=
PORT ?= 8000

# torch's waiting threads spin; with a busy neighbour on the same cores that costs a factor of ten and more.
ifeq ($(OMP_WAIT_POLICY),)
export GOMP_SPINCOUNT ?= 1500
endif

# worksteal: a process that has run out of tests takes some of another's, so that no long file is left to one core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations 10

.PHONY: help install train test test-fast test-lowest test-gpu lint types tests docs docs-serve wheel notebooks format clean

help:
	@echo "make train               train on the embedded digits, leaving a run in runs/"
	@echo "make train ARGS='...'    the same with arguments of scripts/svi_train.py, such as --dataset mnist"
	@echo "make test                lint, types and all tests; prints the ten slowest"
	@echo "make test-fast           the tests that are not marked slow"
	@echo "make test-lowest         these tests with the lowest versions of the dependencies, in .venv-lowest"
	@echo "make test-gpu            the tests that need CUDA"
	@echo "make docs                build the documentation into build/docs; a warning or a broken link is an error"
	@echo "make docs-serve          show it at http://localhost:8000 (make docs-serve PORT=8001)"
	@echo "make wheel               build the wheel and the source distribution into dist"
	@echo "make notebooks           open the notebooks in JupyterLab"
	@echo "make format              format the code (ruff)"
	@echo "make clean               remove the virtual environments and all caches"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Expected Python 3.11 or later; $(PYTHON) is `$(PYTHON) -V`. Name another: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Making the virtual environment $(VENV) with `$(PYTHON) -V` (once; a minute or two, some GB for torch) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

train: install
	@$(BIN)/python scripts/svi_train.py $(ARGS)

test: lint types tests

lint: install
	@echo "Lint and layout (ruff) ..."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: install
	@echo "Types (mypy) ..."
	@$(BIN)/mypy

tests: install
	@echo "Tests (pytest) ..."
	@$(PYTEST) $(ARGS)

test-fast: install
	@$(PYTEST) -m "not slow" $(ARGS)

test-lowest: $(LOWEST)/.installed
	@OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest --numprocesses auto --dist worksteal -m "not slow" $(ARGS)

$(LOWEST)/.installed: pyproject.toml
	@$(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --compile-bytecode --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@

test-gpu: install
	@PYRO_VAE_TEST_DEVICE=cuda OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m gpu $(ARGS)

docs: install
	@echo "Documentation (Sphinx) ..."
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto --builder html docs build/docs
	@echo "Built: build/docs/index.html"

docs-serve: docs
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs $(PORT)

wheel: install
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@ls dist

notebooks: install
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebooks]'
	@$(BIN)/jupyter lab notebooks

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
