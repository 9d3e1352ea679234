# Each verb once, used by people, hooks and CI alike. `make demo` and `make test` need nothing but Python and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LINKS  := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),)
STAMP  := $(VENV)/.ready
PEERS  := .venv-peers

# Telemetry of every dependency is off; the same list is applied by counterfoil/settings.py.
export DO_NOT_TRACK := 1
export PYTHONHASHSEED := 0

.PHONY: setup check test test-slow test-browser bench bench-models bench-growth bench-reach bench-serving demo up down clean lock tree
setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Counterfoil needs Python 3.11 or later: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(LINKS) -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(STAMP)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/rules

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow --timeout 3600

# The console in a real browser, audited by axe-core, which is fetched for this alone and part of nothing that is shipped.
AXE := 4.14.1
test-browser: setup
	@command -v chromedriver >/dev/null || { echo 'no browser is here: install chromium and chromium-driver (Debian: apt-get install chromium chromium-driver)' >&2; exit 2; }
	@test -f .axe/node_modules/axe-core/axe.min.js || npm install --prefix .axe --no-save --no-audit --no-fund --ignore-scripts axe-core@$(AXE) >/dev/null \
	  || { echo 'axe-core cannot be fetched: it needs npm and a near registry' >&2; exit 2; }
	$(BIN)/python -m pytest tests/e2e/test_console_browser.py -m browser --timeout 600

bench: setup
	$(BIN)/python -m bench

# Ours beside other people's libraries, which get an environment of their own; make bench-models DATA=... SETS=amazon-beauty
# FAMILIES=sasrec LIBRARIES=rectools-sasrec measures these alone; a peer is stopped after MINUTES=30.
DATA ?= ../shared/data
SETS ?= amazon-beauty,movielens-100k,uci-online-retail,diginetica,complete-journey
SEEDS ?= 1
bench-models: $(PEERS)/.ready
	$(BIN)/python -m bench.models --data $(DATA) --peers $(PEERS)/bin/python --sets $(SETS) --seeds $(SEEDS) \
	  $(if $(FAMILIES),--families $(FAMILIES)) $(if $(LIBRARIES),--libraries $(LIBRARIES)) \
	  $(if $(MINUTES),--minutes $(MINUTES))

# How the cost of a fit grows with the events; make bench-growth FAMILIES=als,sasrec
bench-growth: setup
	$(BIN)/python -m bench.growth $(if $(FAMILIES),--families $(FAMILIES))

# How long blast-radius and lineage take over a million receipts; minutes to make the home; make bench-reach RECEIPTS=100000
bench-reach: setup
	$(BIN)/python -m bench.reach $(if $(RECEIPTS),--receipts $(RECEIPTS))

# What answers, events and releases cost beside the floor of their parts; minutes to make the shop, kept in .bench;
# make bench-serving ONLY=floor,answer; make bench-serving ONLY=soak MINUTES=15
bench-serving: setup
	$(BIN)/python -m bench.serving $(if $(ONLY),--only $(ONLY)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(QUICK),--quick)

$(PEERS)/.ready: bench/peers/requirements.lock | setup
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --compile-bytecode --no-deps $(LINKS) -r bench/peers/requirements.lock
	@touch $(PEERS)/.ready

demo: setup
	$(BIN)/counterfoil demo

up: setup
	$(BIN)/counterfoil up

down: setup
	$(BIN)/counterfoil down

# Resolve anew after a change of dependencies; the result is committed.
# What the GPU build of torch drags in is left out, so that a machine without a GPU does not fetch it.
lock: setup
	cp requirements.lock requirements.before
	$(BIN)/uv pip compile pyproject.toml --extra demo --extra text --extra postgres --extra otlp --extra dev --universal --python-version 3.11 $(LINKS) \
	  --no-annotate --no-header --quiet -c requirements.before -o requirements.fresh
	grep -vE '^(nvidia-(c|n)|triton|cuda-)' requirements.fresh | sed -E 's/^torch==([0-9.]+).*/torch==\1/' | awk '!seen[$$0]++' > requirements.lock
	rm requirements.before requirements.fresh

tree: setup
	$(BIN)/python infra/tree.py

clean:
	rm -rf .counterfoil build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
