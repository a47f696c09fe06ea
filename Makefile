# make demo: a real cluster on this machine, the stack, and a drill that proves an alert.
# make test: every check and test there is. Both install what they need into .venv.

# The first that runs and is new enough: a name on the PATH may be a shim with nothing behind it.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Servers and tests share two cores on a small machine: more workers only make each wait for the other.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help install servers demo demo-down test lint types unit real timing help-text bench clean

help:
	@echo "make demo       a cluster on 127.0.0.1 with the stack, and a drill that proves an alert"
	@echo "make demo-down  end it"
	@echo "make test       every check and test (real servers included)"
	@echo "make lint | types | unit | real | timing   one part of it"
	@echo "make bench      start-up time and drill timing, measured"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "obsctl needs Python 3.11 or newer, and none was found. Say where it is: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

servers: $(INSTALLED)
	$(BIN)/obsctl dev binaries

demo: $(INSTALLED)
	$(BIN)/obsctl dev up
	$(BIN)/obsctl deploy --yes
	$(BIN)/obsctl drill stop response-service --yes
	@$(BIN)/obsctl status
	@echo
	@echo "The cluster stays up. Try:"
	@echo "  $(BIN)/obsctl drill report last          the drill again, from its journal"
	@echo "  $(BIN)/obsctl drill stop hello-service   another drill"
	@echo "  eval \"\$$($(BIN)/obsctl dev env)\"          then nomad and consul are yours:"
	@echo "  nomad job stop obs-response-service      break it yourself; alert-sink's page shows what arrives"
	@echo "  $(BIN)/obsctl deploy --yes               and put it back"
	@echo "  make demo-down                           end it"

demo-down: $(INSTALLED)
	$(BIN)/obsctl dev down

test: lint types servers unit real timing

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/pytest tests/unit tests/golden -n $(WORKERS) -q

real: $(INSTALLED) servers
	$(BIN)/pytest tests/contract tests/integration tests/e2e -m "not serial" -n $(WORKERS) --dist loadgroup -q

# What measures time runs alone.
timing: $(INSTALLED) servers
	$(BIN)/pytest tests/e2e -m serial -q -rP

help-text: $(INSTALLED)
	COLUMNS=80 $(BIN)/obsctl --help > obsctl/cli/help.txt

bench: $(INSTALLED)
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/drill_timing.py

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
