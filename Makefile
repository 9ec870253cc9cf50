# make run        install what is needed and train LeNet-5 on the embedded digits, several seeds, into runs/mnist
# make test       install, lint, run the default test suite
# make test-slow  the same with the tests of minutes
# make bench      measure every project, and the peers with BENCH=--peer; table, and JSON in runs/bench.json
# make lint       ruff, and the rules that tools/check_layout.py checks
# make clean      remove what was built; runs/ and the environment stay
#
# Installing is repeated only when pyproject.toml has changed.

VENV ?= .venv
PYTHONS ?= python3 python3.11 python3.12 python3.13
WORKDIR ?= runs/mnist
SEEDS ?= 5
BENCH ?=
WORKERS ?= 2
PY := $(VENV)/bin/python
FOR_RUN := $(VENV)/.installed-run
FOR_TEST := $(VENV)/.installed-test
FOR_BENCH := $(VENV)/.installed-bench

.PHONY: help run test test-slow bench lint clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

run: $(FOR_RUN)
	$(PY) -m projects.level2_mnist.main --workdir=$(WORKDIR) --seeds=$(SEEDS)

test: lint
	$(PY) -m pytest -n $(WORKERS)

test-slow: lint
	$(PY) -m pytest -n $(WORKERS) -m ''

bench: $(FOR_BENCH)
	$(PY) -m tools.bench $(BENCH)

lint: $(FOR_TEST)
	$(PY) -m ruff check .
	$(PY) -m tools.check_layout

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(PY):
	@for p in $(PYTHONS); do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$p -m venv $(VENV)"; exec $$p -m venv $(VENV); \
	  fi; \
	done; \
	echo 'error: no Python 3.11 or later among: $(PYTHONS); name yours: make PYTHONS=/path/to/python3 ...' >&2; exit 1

$(FOR_RUN): pyproject.toml | $(PY)
	@echo 'installing (minutes the first time)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	$(PY) -m pip install -q -U pip
	$(PY) -m pip install -q -e '.[data]'
	@touch $@

$(FOR_TEST): pyproject.toml | $(PY)
	@echo 'installing with test peers (minutes the first time)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	$(PY) -m pip install -q -U pip
	$(PY) -m pip install -q -e '.[test]'
	@touch $(FOR_RUN) $@

$(FOR_BENCH): pyproject.toml | $(PY)
	@echo 'installing with the peers of the bench (minutes the first time)'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	$(PY) -m pip install -q -U pip
	$(PY) -m pip install -q -e '.[bench]'
	@touch $(FOR_RUN) $@
