# Needs Python 3.10 or newer and make; everything else is installed into .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test cluster lint bench soak clean

help:
	@echo "make demo     train plastic and other networks on the maze, and compare them"
	@echo "make test     run the tests, but for those of make cluster"
	@echo "make cluster  run the tests of many processes, of Ray, and of the loss of some of them (ten minutes)"
	@echo "make lint     check style (ruff) and types (mypy on the installed wheel)"
	@echo "make bench    measure speed and memory against plain torch (a few minutes)"
	@echo "make soak     try to lose or corrupt a training: what docs/reliability.md reports (half an hour)"
	@echo "make clean    remove what the above have made, except runs/"

demo: $(READY)
	$(BIN)/plasticrl demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not cluster"

cluster: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile -m cluster tests/scripts tests/reliability

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	.ci/typecheck $(BIN)

bench: $(READY)
	$(BIN)/plasticrl benchmark speed

soak: $(READY)
	$(BIN)/python -m pytest --soak -n auto tests/reliability

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "plasticrl needs Python 3.10 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt --editable '.[dev]'
	@touch $@
