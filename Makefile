# Everything a person or CI runs; `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## List what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: venv
venv: $(VENV)/installed ## The Python environment, from the lock file
$(VENV)/installed: requirements-dev.lock
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

.PHONY: lock
lock: venv ## Pin every dependency anew, with hashes
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --generate-hashes --no-header --upgrade -o requirements.lock
	$(BIN)/uv pip compile --quiet pyproject.toml --group dev --universal --generate-hashes --no-header --upgrade -o requirements-dev.lock
	for group in audit checkov; do \
	  $(BIN)/uv pip compile --quiet --group $$group --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o requirements-$$group.lock; \
	done

.PHONY: check
check: venv ## Lint, types, import rules
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy operator tests
	PYTHONPATH=operator $(BIN)/lint-imports --no-logo

.PHONY: test
test: venv ## All checks and tests, on real parts and a real cluster
	$(BIN)/python -m tests.suite

.PHONY: test-runtimes
test-runtimes: venv ## Of the tests, those of containerd, Docker, CRI-O and podman, and the matrix that they prove
	$(BIN)/python -m tests.suite parts runtimes matrix

.PHONY: test-security
test-security: venv ## Known vulnerabilities, scans of the manifests of every option set, SBOM, and the tests of who may do what
	$(BIN)/python -m tests.suite parts audit scan supply sbom security

.PHONY: test-data
test-data: venv ## What becomes of the images: collection, retention, a full disk, a crash (20 minutes)
	$(BIN)/python -m tests.suite parts data

.PHONY: audit
audit: venv ## Ask a vulnerability service about every package that the operator runs on; fails where none can be asked
	PYTHONPATH=operator $(BIN)/python -m tests.supply_chain audit

.PHONY: sbom
sbom: venv ## What is in the wheel and in the image, as CycloneDX, into build/sbom: [IMAGE=...]
	PYTHONPATH=operator $(BIN)/python -m tests.supply_chain sbom $(if $(IMAGE),--image $(IMAGE))

.PHONY: demo
demo: venv ## The main job, shown on a real cluster: [CONTEXT=... IMAGE=... [YES=1]]
ifndef CONTEXT
	$(BIN)/python -m tests.cluster up
endif
	@$(BIN)/python -m tests.demo $(if $(CONTEXT),--context $(CONTEXT)) $(if $(IMAGE),--image $(IMAGE)) $(if $(REGISTRY_IMAGE),--registry-image $(REGISTRY_IMAGE)) $(if $(YES),--yes)

include tests/cluster/cluster.mk
include manifests/manifests.mk

.PHONY: soak
soak: venv ## The long campaigns: rollouts under 2,000 pulls; renewals, CA rotations and collections under load; kills and power cuts (80 minutes)
	$(BIN)/python -m tests.cluster up
	SOAK=1 $(BIN)/python -m pytest tests/e2e/test_pulls.py
	SOAK=1 $(BIN)/python -m pytest -s tests/integration/operator/test_rotation.py -k "two_thirds or ca_is_replaced"
	SOAK=1 $(BIN)/python -m pytest -s tests/integration/operator/test_collection.py -k "in_use or killed"
	SOAK=1 $(BIN)/python -m pytest -s tests/integration/test_durability.py

.PHONY: bench
bench: venv ## The figures of the README, on the cluster of make cluster (about an hour): [PART=agent|memory|report needs none]
	$(BIN)/python -m tests.cluster parts
ifeq ($(filter agent% memory report,$(PART)),)
	$(BIN)/python -m tests.cluster up
endif
	PYTHONPATH=operator $(BIN)/python -m tests.bench $(PART)
