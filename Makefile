# Everything that a person or CI runs. `make` alone prints this list.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
HOST ?= 127.0.0.1
PORT ?= 8000
OUT ?= models/$(notdir $(patsubst %/,%,$(DATA)))
# What .venv holds: enough to serve, or everything.
SERVICE := $(VENV)/.service
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install serve train demo test check compose-test loadtest capacity bench docs pictures lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

$(UV): deploy/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' || { \
		echo "$(PYTHON) is Python $$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none); 3.11 to 3.14 is needed."; \
		echo "Install one of them and name it, e.g. PYTHON=python3.14 make serve."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its module venv or ensurepip is missing."; \
		echo "On Debian and Ubuntu: sudo apt install python3-venv. Then run the same command again."; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement deploy/uv.lock
	@touch $@

$(SERVICE): deploy/requirements.lock pyproject.toml | $(UV)
	@echo "Installing what the service needs into $(VENV)…"
	@$(UV) pip install --quiet --require-hashes --compile-bytecode --requirement deploy/requirements.lock
	@touch $@

$(INSTALLED): requirements.lock pyproject.toml | $(UV)
	@echo "Installing everything that requirements.lock lists into $(VENV)…"
	@rm -f $(SERVICE)
	@$(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(SERVICE) $@

install: $(INSTALLED) ## make .venv with exactly what requirements.lock says

serve: $(SERVICE) ## serve the model in models/ on HOST:PORT; the shipped demo if there is none
	@exec env SIGHTLINE_HOST=$(HOST) SIGHTLINE_PORT=$(PORT) $(PY) -m service serve --die-with-parent

train: $(INSTALLED) ## train on a folder of labelled images: make train DATA=photos [OUT=models/photos] [ARGS="--arch …"]
	@test -n "$(DATA)" || { echo "Say which folder: make train DATA=photos"; exit 2; }
	@$(PY) -m training train "$(DATA)" --out "$(OUT)" $(ARGS)

demo: $(INSTALLED) ## train the demo model again and print its table
	@$(PY) -m training demo

test: $(INSTALLED) ## run every test that this machine can run
	@$(PY) -m pytest

check: $(INSTALLED) ## everything that CI checks: style, types, architecture, tests, the README's blocks
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(MAKE) --no-print-directory test

compose-test: $(INSTALLED) ## bring docker-compose.yml up and test it; needs a Docker engine with compose
	@$(PY) -m pytest -rs tests/deploy/test_compose.py

loadtest: $(INSTALLED) ## run locust without its page: make loadtest [ARGS="--url http://… --shape spike"]
	@$(PY) -m loadtests.headless $(ARGS)

capacity: $(INSTALLED) ## find the highest rate sustained with p99 within 250 ms; takes 20 minutes [ARGS="--p99-ms 100"]
	@$(PY) -m loadtests.bench.capacity $(ARGS)

bench: $(INSTALLED) ## measure Sightline beside its peers and the bare loop; needs wrk and java, takes over an hour
	@$(PY) -m loadtests.bench.bench $(ARGS)

docs: $(INSTALLED) ## write the pages under docs/ that follow from the code
	@$(PY) docs/generate.py

pictures: $(INSTALLED) ## draw the pictures of the page in docs/pictures/; needs chromium
	@$(PY) docs/pictures.py

LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: $(INSTALLED) ## compile pyproject.toml into the hashed locks; those of the images are parts of the first
	@$(LOCK) pyproject.toml --all-extras --group dev -o requirements.lock
	@$(LOCK) --constraint requirements.lock pyproject.toml -o deploy/requirements.lock
	@$(LOCK) --constraint requirements.lock pyproject.toml --extra gpu -o deploy/gpu.lock
	@$(LOCK) --constraint requirements.lock loadtests/requirements.in -o loadtests/requirements.lock
	@echo uv | $(LOCK) - -o deploy/uv.lock

clean: ## remove the virtual environment and every cache; models stay
	@rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
