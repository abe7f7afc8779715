# Fedward: two commands, `make demo` and `make test`, from nothing but Python 3.11 or newer.
#
# Variables (make demo NAME=value):
#   PYTHON       the interpreter that makes .venv; the first fit one of python3, python3.13, ...
#   TORCH_INDEX  one more package index, for torch without CUDA on a machine without a GPU:
#                TORCH_INDEX=https://download.pytorch.org/whl/cpu

FIT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(FIT)' 2>/dev/null && echo $$python && break; done)
TORCH_INDEX ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check \
	$(shell test -t 2 || echo --quiet) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --constraint constraints.txt
PINS := pyproject.toml constraints.txt

.PHONY: help demo test lint format flower wheel clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

demo: .venv/installed ## install, then simulate five hospitals on synthetic faces
	@$(BIN)/fedward simulate demo

test: lint ## install, then check style and types and run every test
	@$(BIN)/pytest

lint: .venv/installed-dev ## style and types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/installed-dev ## rewrite the code in the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

flower: .venv/installed ## the demo through Flower's own command, `flwr run .`
	@. ./flower.env && trap flower_stop EXIT && trap 'exit 130' INT TERM && \
		flwr run . --stream && flower_status

wheel: .venv/installed-dev ## build dist/fedward-*.whl
	@$(BIN)/python -m build --wheel

clean: ## remove the environment and what was built; runs/ stays
	rm -rf .venv .flwr build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp is younger than what it was installed from, so a second `make` installs nothing.
.venv/installed: $(PINS) | .venv/bin/python
	@echo "Installing Fedward into .venv (torch is large: the first time takes minutes)"
	@$(PIP) --editable .
	@touch $@

.venv/installed-dev: $(PINS) | .venv/bin/python
	@echo "Installing Fedward and its development tools into .venv (torch is large)"
	@$(PIP) --editable '.[dev]'
	@touch .venv/installed $@

.venv/bin/python:
	@$(or $(PYTHON),false) -c '$(FIT)' 2>/dev/null || { echo "Fedward needs Python 3.11 or newer:" \
		"install one, or name it: make demo PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make an environment:" \
		"install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
