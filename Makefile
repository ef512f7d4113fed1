# Everything that a person or CI runs. `make` alone prints this list.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
INSTALLED := $(VENV)/.installed
HOST ?= 127.0.0.1
PORT ?= 8000
OUT ?= models/$(notdir $(patsubst %/,%,$(DATA)))

.DEFAULT_GOAL := help
.PHONY: help install serve train demo test check compose-test loadtest capacity bench docs lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## make .venv with exactly what requirements.lock says

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed. Name another with PYTHON=python3.12 make install."; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(VENV)/bin/pip install --quiet --disable-pip-version-check uv
	@echo "Installing what requirements.lock lists into $(VENV)…"
	@$(UV) pip sync --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

serve: $(INSTALLED) ## serve the newest model on HOST:PORT; without any, make the demo model first
	@test -n "$$(ls models 2>/dev/null)" || $(PY) -m training demo
	@exec env SIGHTLINE_HOST=$(HOST) SIGHTLINE_PORT=$(PORT) $(PY) -m service run --die-with-parent

demo: $(INSTALLED) ## train the demo model again and print its table
	@$(PY) -m training demo

train: $(INSTALLED) ## train on a folder of labelled images: make train DATA=photos [OUT=models/photos] [ARGS="--arch …"]
	@test -n "$(DATA)" || { echo "Say which folder: make train DATA=photos"; exit 2; }
	@$(PY) -m training train "$(DATA)" --out "$(OUT)" $(ARGS)

test: $(INSTALLED) ## run every test that this machine can run
	@$(PY) -m pytest

check: $(INSTALLED) ## everything that CI checks: style, types, architecture, tests, the README's blocks
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(MAKE) --no-print-directory test

compose-test: $(INSTALLED) ## bring docker-compose.yml up and test it; needs a Docker engine with compose
	@$(PY) -m pytest -rs tests/deploy/test_compose.py

loadtest: $(INSTALLED) ## locust without its page: make loadtest [ARGS="--url http://… --shape spike"]; results in loadtests/results
	@$(PY) -m loadtests.headless $(ARGS)

capacity: $(INSTALLED) ## the highest rate that is borne with p99 within 250 ms; takes half an hour: make capacity [ARGS="--p99-ms 100"]
	@$(PY) -m loadtests.bench.capacity $(ARGS)

bench: $(INSTALLED) ## measure Sightline beside its peers and the ceiling of this machine; needs wrk and java, takes an hour
	@$(PY) -m loadtests.bench.bench $(ARGS)

docs: $(INSTALLED) ## write the pages under docs/ that follow from the code
	@$(PY) docs/generate.py

LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: $(INSTALLED) ## compile every requirements.in into its hashed lock; the images' are parts of the first
	@$(LOCK) requirements.in -o requirements.lock
	@$(LOCK) --constraint requirements.lock deploy/requirements.in -o deploy/requirements.lock
	@$(LOCK) --constraint requirements.lock deploy/torch.in -o deploy/torch.lock
	@$(LOCK) --constraint requirements.lock loadtests/requirements.in -o loadtests/requirements.lock
	@echo uv | $(LOCK) - -o deploy/uv.lock

clean: ## remove the virtual environment and every cache; models stay
	@rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
