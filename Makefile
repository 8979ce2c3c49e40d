# `make` lists the targets.  Everything prepares what it needs; nothing is installed by hand.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-bench setup-up demo test lint bench dashboards up down drill lock mutants

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## prepare .venv, Prometheus and Alertmanager
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

demo: setup ## run the whole loop on real market data (DEMO_SECONDS=40, PORT_OFFSET=0)
	@$(PY) -m scripts.demo

lint: setup ## style, types, import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

test: setup-test lint ## everything that must hold; what CI runs
	@$(PY) -m pytest

bench: setup-bench ## measure beside the peers and print the ratios (PART=exporter)
	@$(PY) -m benchmarks $(PART)

lock: setup ## rewrite the hash-locked requirements from pyproject.toml
	@scripts/lock.sh

drill: setup ## prove that the pager works: trip a breaker on the running stack, watch, release (BREAKER=manual)
	@$(PY) -m scripts.drill --breaker "$(or $(BREAKER),manual)"

setup-up:
	@scripts/setup.sh up

up: setup-up ## start the stack in Docker: secrets, build, wait until healthy, URLs
	@$(PY) -m scripts.up

down: setup-up ## stop the stack in Docker; the data stays
	@$(PY) -m scripts.up down

dashboards: setup ## rebuild grafana/json from grafana/dashboards
	@$(PY) -m grafana.build

mutants: setup ## break riskrails' pure modules on purpose; red when a mutant survives unexplained
	@$(PY) -m tests.riskrails.mutate $(MODULES)
