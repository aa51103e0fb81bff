# Two commands set everything up: `make demo` and `make test`. What is installed is used again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTRAS ?= croissant,demo,dev,docs,dp-sgd,excel,plots,report,tables,yardsticks
OUT ?= demo-out

.PHONY: install demo test studies-test lint docs wheel bench soak clean help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## Create .venv and install everything

$(INSTALLED): pyproject.toml constraints.txt studies/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt anonymeter dataprep  # their pins are stale, they run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e studies
	touch $@

demo: $(INSTALLED)  ## Train a small model, release real images, write a page (DATA=folder for your own images)
	$(BIN)/veilray demo --out $(OUT) $(if $(DATA),--data '$(DATA)')

test: $(INSTALLED)  ## All tests that need no root (README says how long)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not soak' --cov=veilray --cov-report= $(ARGS)
	$(BIN)/coverage report --include='src/veilray/privacy/*' --fail-under=95

studies-test: $(INSTALLED)  ## The studies: ruff, mypy --strict, import-linter, all their tests
	$(BIN)/ruff check studies
	$(BIN)/ruff format --check studies
	cd studies && $(abspath $(BIN))/mypy
	$(BIN)/lint-imports --config studies/pyproject.toml
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal studies/tests $(ARGS)

lint: $(INSTALLED)  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## Build the documentation into site/, without network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(INSTALLED)  ## Build the wheel, install it in a fresh environment, run the main job with it
	PYTHON=$(BIN)/python bash scripts/smoke_wheel.sh

bench: $(INSTALLED)  ## This machine's figures, as ratios (peers: pip install -e '.[peers]')
	$(BIN)/python benchmarks/samplers.py
	$(BIN)/python benchmarks/flows.py
	$(BIN)/python benchmarks/obfuscation.py

soak: $(INSTALLED)  ## Full counts, hours
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m soak

clean:  ## Remove what was built, keep .venv
	rm -rf build dist site demo-out .coverage* .mypy_cache studies/.mypy_cache .ruff_cache .hypothesis
