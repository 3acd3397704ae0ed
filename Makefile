# make install   the environment in .venv (CONSTRAINTS= to choose your own torch, for instance a GPU build)
# make demo      alanine dipeptide at 500 K from force field to report, ten to twelve minutes on two cores
# make test      the tests
# make check     formatter, linter, type checker
# make docs      the documents, in build/docs/index.html; a warning is an error
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: install demo test test-slow check docs clean

install: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mdgen needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(VENV)/bin/mdgen demo

# Every test is single-threaded; up to four run side by side.
test: $(STAMP)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: $(STAMP)
	MDGEN_CHECK_SHAPES=all $(VENV)/bin/python -m pytest -m slow
	MDGEN_CHECK_SHAPES=all $(VENV)/bin/python -m pytest tests/evaluation

check: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: $(VENV)/.docs
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html notebooks/docs build/docs

$(VENV)/.docs: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV)
