# The two commands a newcomer needs are 'make sweep' and 'make test'; each sets up its own environment in .venv.

PYTHON ?= python3
SWEEP ?= sweeps/quick.toml
STUDY ?= sweeps/studies/kappa-lambda-quick.toml
JOBS ?=
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup sweep compare tune status figures report list test test-all golden pages lint docs perf constraints clean clean-results

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP)  ## make .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with 'make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12'"; exit 2; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: $(STAMP)  ## run a sweep and draw its figures (SWEEP=sweeps/NAME.toml, JOBS=n)
	@$(RUN) -m bench sweep $(SWEEP) $(if $(JOBS),--jobs $(JOBS))

compare: $(STAMP)  ## compare a method with all others, paired by seed (METHOD=my_method.py, SWEEP=sweeps/NAME.toml, JOBS=n)
	@test -n "$(METHOD)" || { echo "which method? for example 'make compare METHOD=my_method.py'"; exit 2; }
	@$(RUN) -m bench compare $(METHOD) $(if $(filter file,$(origin SWEEP)),,--sweep $(SWEEP)) $(if $(JOBS),--jobs $(JOBS))

tune: $(STAMP)  ## tune methods on held-out samples, compare with the papers' values (STUDY=sweeps/studies/NAME.toml, JOBS=n)
	@$(RUN) -m bench tune $(STUDY) $(if $(JOBS),--jobs $(JOBS))

status: $(STAMP)  ## show what is done of a sweep (SWEEP=sweeps/NAME.toml)
	@$(RUN) -m bench status $(SWEEP)

figures: $(STAMP)  ## draw a sweep's figures again from its finished cells (SWEEP=sweeps/NAME.toml)
	@$(RUN) -m bench plot $(SWEEP)

report: $(STAMP)  ## write a sweep's report again from its finished cells (SWEEP=sweeps/NAME.toml)
	@$(RUN) -m bench report $(SWEEP)

list: $(STAMP)  ## list methods, tasks, sweeps and figures
	@$(RUN) -m bench list

test: $(STAMP)  ## run the test suite without its slow tests
	$(RUN) -m pytest -n auto

test-all: $(STAMP)  ## run all tests, the slow ones too
	$(RUN) -m pytest -n auto -m 'slow or not slow'

golden: $(STAMP)  ## record the golden cells anew whose revisions were raised (docs/revisions.md)
	@$(RUN) tests/support/golden.py

pages: $(STAMP)  ## write the tables of the documentation anew from the committed results
	@$(RUN) tests/support/written_tables.py

lint: $(STAMP)  ## check style, types and which room imports which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

docs: $(STAMP)  ## build the documentation as a site into build/site and check its links
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict && echo "the site: build/site/index.html"

perf: $(STAMP)  ## time the harness beside a bare PyTorch loop and against its targets, 15 to 20 minutes on two cores
	@$(RUN) -m bench perf

constraints: $(STAMP)  ## write constraints.txt anew from what is installed in .venv
	@{ sed -n '/^#/p' constraints.txt; $(RUN) -m pip freeze --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## delete the environment and tool caches, keep the results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-results:  ## delete what the default sweep left in results/
	rm -rf results/quick results/runs results/partitions
