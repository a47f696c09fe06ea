# make demo: a real cluster on this machine, the stack, and a drill that proves an alert.
# make test: every check and test there is. Both bring what they need: Debian packages as root, the rest into .venv.

# The first that runs and is new enough: a name on the PATH may be a shim with nothing behind it.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# More workers than cores only make each wait for the other; one that has done its half takes tests of the other. A real test has up to thirty programs, and forecasts of
# seconds: one of those with a cluster of its own on each core; the others often wait, and two of them fit on each.
WORKERS ?= logical
REAL_WORKERS ?= 2
MORE_WORKERS ?= 4

DOCKER ?= docker
# What obsctl's image is built on: an image with Python and pip.
BASE ?= $(shell sed -n 's/^ARG BASE=//p' Dockerfile)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE := obsctl/obsctl:$(VERSION)

# Sees to what is not Python's, each as PROGRAM:PACKAGE: root on Debian gets the packages, others are told.
DEBIAN_ROOT := test "$$(id -u)" = 0 && command -v apt-get >/dev/null
bring = missing=; for need in $(1); do command -v $${need%%:*} >/dev/null || missing="$$missing $${need\#*:}"; done; \
  if test -z "$$missing"; then :; \
  elif $(DEBIAN_ROOT); then apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends $$missing; \
  else echo "This needs what Debian packages as$$missing: install that, or run it as root on Debian."; exit 1; fi
# Only root can start a Docker daemon, and only then are its tests run.
TEST_NEEDS := git:git unshare:util-linux openssl:openssl docker-registry:docker-registry node:nodejs npm:npm nft:nftables ip:iproute2 \
  chromium-headless-shell:chromium-headless-shell \
  $(if $(filter 0,$(shell id -u)),dockerd:docker.io)

.DEFAULT_GOAL := help
.PHONY: help install servers compiler demo demo-down test test-needs test-with lint types unit campaign real timing images push licences generated bench clean tofu

help:
	@echo "make demo       a cluster on 127.0.0.1 with the stack, and a drill that proves an alert"
	@echo "make demo-down  end it"
	@echo "make test       every check and test (real servers included)"
	@echo "make test-with NOMAD=/path CONSUL=/path   the same with servers of your own"
	@echo "make lint | types | unit | real | timing   one part of it"
	@echo "make campaign   10,000 broken files of every kind that obsctl reads: none may end as a bug; lost nodes, killed drills"
	@echo "make images     obsctl's image, $(IMAGE), for drivers docker and podman"
	@echo "make push REGISTRY=registry.example.org/team   and push it there"
	@echo "make bench      start-up, plan, deploy, log lines and drill timing, measured"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "obsctl needs Python 3.11 or newer, and none was found. Say where it is: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call bring,ensurepip:python3-venv); }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

servers: $(INSTALLED) compiler
	$(BIN)/obsctl dev binaries

# Where Go is to build Nomad, a part of that is C. (Who is not root is told by the build.)
compiler: $(INSTALLED)
	@if $(DEBIAN_ROOT) && ! $(BIN)/obsctl dev binaries --check nomad >/dev/null 2>&1; then \
	  $(call bring,gcc:gcc gcc:libc6-dev); fi

demo: $(INSTALLED) compiler
	$(BIN)/obsctl dev up
	$(BIN)/obsctl deploy --yes
	$(BIN)/obsctl drill stop response-service --yes
	@$(BIN)/obsctl status
	@echo
	@echo "The cluster stays up. Try:"
	@echo "  $(BIN)/obsctl drill report last          the drill again, from its journal"
	@echo "  $(BIN)/obsctl drill stop hello-service   another drill"
	@echo "  docs/tutorial-find-the-bug.md            a bug that no metric shows, found by its trace"
	@echo "  eval \"\$$($(BIN)/obsctl dev env)\"          then nomad and consul are yours:"
	@echo "  nomad job stop obs-response-service      break it yourself; alert-sink's page shows what arrives"
	@echo "  $(BIN)/obsctl deploy --yes               and put it back"
	@echo "  make demo-down                           end it"

demo-down: $(INSTALLED)
	$(BIN)/obsctl dev down

test: test-needs lint types servers unit real timing

test-needs:
	@$(call bring,$(TEST_NEEDS))

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/pytest tests/unit tests/golden -n $(WORKERS) --dist worksteal -q

# Broken files of every kind, others each time; `make unit` tries some hundred, the same each time. And what is too slow
# for every run.
campaign: $(INSTALLED) servers
	CAMPAIGN=$(or $(INPUTS),10000) $(BIN)/pytest tests/unit/test_campaign.py -n $(WORKERS) -q -rP $(PYTEST_ARGS)
	$(BIN)/pytest tests/integration tests/e2e -m campaign -q -rP $(PYTEST_ARGS)

# OpenTofu, for the tests of terraform/.
tofu: $(INSTALLED) compiler
	$(BIN)/python -m toolchain.tools

real: REAL := $(BIN)/pytest tests/contract tests/integration tests/e2e --durations=12 -q
real: EACH_TIME := not timed and not campaign
real: $(INSTALLED) servers tofu
	$(REAL) -m "$(EACH_TIME) and xdist_group" -n $(REAL_WORKERS) --dist loadgroup --no-loadscope-reorder $(PYTEST_ARGS)
	$(REAL) -m "$(EACH_TIME) and not xdist_group" -n $(MORE_WORKERS) $(PYTEST_ARGS)

# What compares times with a forecast runs when the machine has little else to do: of those with a cluster two at a time.
timing: $(INSTALLED) servers
	$(BIN)/pytest tests/integration tests/e2e -m "timed and not campaign" -n 2 --dist loadgroup -q -rP $(PYTEST_ARGS)

# With Nomad and Consul of your own, newer ones than those that are built: then no test may be left out.
test-with:
	@test -n "$(NOMAD)" -a -n "$(CONSUL)" || { echo "Say which: make test-with NOMAD=/path/to/nomad CONSUL=/path/to/consul"; exit 1; }
	OBSCTL_SERVERS__NOMAD=$(abspath $(NOMAD)) OBSCTL_SERVERS__CONSUL=$(abspath $(CONSUL)) \
	  $(MAKE) test PYTEST_ARGS=--nothing-left-out

# pip is set up for this machine's network, a build is not: so the wheels, for the base's Python, are fetched here.
images: $(INSTALLED)
	rm -rf build/image
	$(BIN)/python -m build --wheel --no-isolation --outdir build/image/wheels .
	set -e; \
	python=$$($(DOCKER) run --rm --network=none --entrypoint=python3 $(BASE) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	machine=$$($(DOCKER) run --rm --network=none --entrypoint=python3 $(BASE) -c 'import os; print(os.uname().machine)'); \
	$(BIN)/pip download --quiet --disable-pip-version-check --dest build/image/wheels --only-binary=:all: \
	  --python-version $$python $(foreach tag,manylinux_2_28 manylinux_2_17 manylinux2014,--platform $(tag)_$$machine) \
	  "$$(echo build/image/wheels/obsctl-*.whl)[demo]"
	$(DOCKER) build --network=none --build-arg BASE=$(BASE) --build-arg VERSION=$(VERSION) --tag $(IMAGE) \
	  --file Dockerfile build/image

push:
	@test -n "$(REGISTRY)" || { echo "Say where to push $(IMAGE): make push REGISTRY=registry.example.org/team"; exit 1; }
	$(DOCKER) tag $(IMAGE) $(REGISTRY)/$(IMAGE)
	$(DOCKER) push $(REGISTRY)/$(IMAGE)

# After a change of toolchain/: which licence each linked module has; the module cache must have them (make servers).
licences: $(INSTALLED)
	$(BIN)/python -m toolchain.licences

# Help, the lists in documents, the example of obsctl.yaml, and every message in one place: all of it is made from code.
generated: $(INSTALLED)
	$(BIN)/python -m generate

bench: $(INSTALLED)
	$(BIN)/python bench/startup.py
	$(BIN)/python -m bench.plan
	$(BIN)/python -m bench.deploy
	$(BIN)/python -m bench.log_lines
	$(BIN)/python bench/drill_timing.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
