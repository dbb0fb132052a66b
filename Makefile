.PHONY: help venv demo test test-long test-all every-test lint types bench bench-peers bench-fusion chaos endurance golden mutants reproduce reproduce-quick docs clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 24

venv: .venv/installed  ## set up .venv (safe to repeat)

# setup.cfg and constraints.txt decide what is installed; both are read with plain pip.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: fedkd needs Python >= 3.11; try 'make PYTHON=python3.11 $(MAKECMDGOALS)'"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt 'setuptools>=77' wheel
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

demo: venv  ## compare Local, FedMD and KnFu (twice) with 100 clients on digits (a minute)
	$(BIN)/fedkd run -m experiment=demo 'strategy=local,fedmd,knfu,{name:knfu,exchange:logits,beta:1}'

# Some machines forbid it: each process that a test starts would then compile fedkd anew.
test test-long test-all: export PYTHONDONTWRITEBYTECODE =

test: venv lint types  ## lint, types and the quick tests, in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow' $(PYTEST)

# Many of them wait, for deaths and limits of time: three processes keep two cores busy.
test-long: venv  ## the tests that take long
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m slow $(PYTEST)

# Where tests wait for deaths and limits of time, quick ones and the types use the cores.
test-all: venv lint  ## lint, types and all tests at once, sooner than one after the other
	$(MAKE) --jobs 2 types every-test

every-test: venv
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: venv  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Type checkers do not follow the mapping of folders in setup.cfg: show them the packages as links.
types: venv  ## check types
	@rm -rf build/types && mkdir -p build/types/fedkd
	@ln -s $(CURDIR)/fedkd/* $(addprefix $(CURDIR)/,strategies clients experiments) build/types/fedkd
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p fedkd

bench: venv  ## seconds per round of ours, bare Ray, Flower's engine and a plain loop, as ratios
	$(BIN)/python -m fedkd.experiments.benchmarks.rounds $(BENCH)

bench-peers: venv  ## the same and pfl-research and fluke, from PyPI in venvs of their own
	@for peer in pfl fluke; do $(MAKE) --no-print-directory build/peers/$$peer/installed \
		|| echo "error: $$peer could not be installed (see above); its column will say failed"; done
	$(BIN)/python -m fedkd.experiments.benchmarks.rounds --systems bare,ray,flower,pfl,pfl1,fluke $(BENCH)

# fedkd comes without its dependencies, for the works and the plain loop. torch is the one that
# fedkd is measured with; unconstrained, the newest build for CUDA would come.
PEER_pfl := pfl[pytorch]==0.6.*
PEER_fluke := fluke-fl==0.8.*
build/peers/%/installed: constraints.txt
	@mkdir -p build/peers && grep '^torch==' constraints.txt > build/peers/constraints.txt
	$(PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/pip install -q -c build/peers/constraints.txt \
		'$(PEER_$*)' safetensors psutil 'setuptools>=77' wheel
	build/peers/$*/bin/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

bench-fusion: venv  ## time and memory of fusion for up to 10,000 clients
	$(BIN)/python -m fedkd.experiments.benchmarks.fusion --json runs/fusion.json --figure runs/fusion.png

chaos: venv  ## kill drivers and actors at 20 random moments; all must end the same
	$(BIN)/python -m fedkd.experiments.benchmarks.chaos

endurance: venv  ## 300 rounds with 100 clients, then 20 runs in one process: nothing may grow
	$(BIN)/python -m fedkd.experiments.benchmarks.endurance

golden: venv  ## run every strategy small and record the numbers that tests compare
	$(BIN)/python tests/golden/record.py

mutants: venv  ## plant faults at random and count how many of them the tests notice
	$(BIN)/python tests/mutants.py $(MUTANTS)

# A claim is a study whose page begins with it.
CLAIMS := $(patsubst experiments/reproduce/%_page.py,%,$(shell grep -lw CLAIM experiments/reproduce/*_page.py))
REPRODUCED = @set -e; for claim in $(CLAIMS); do \
	$(BIN)/python -m fedkd.experiments.reproduce.$$claim $(1); \
	$(BIN)/python -m fedkd.experiments.reproduce.$${claim}_page; done; \
	$(BIN)/python -m fedkd.experiments.reproduce.gallery

REPRODUCE ?= --jobs 2

reproduce: venv  ## rerun what papers claim, hours; what is done is kept
	$(call REPRODUCED,$(REPRODUCE))

reproduce-quick: venv  ## a tenth of each, in less than 20 minutes
	$(call REPRODUCED,--quick $(REPRODUCE))

docs: venv  ## write strategies/README.md, and the site to build/site (a broken link fails)
	$(BIN)/python -m fedkd.strategies.catalogue
	$(BIN)/python -m fedkd.experiments.reproduce.fusion_page
	@set -e; for claim in $(CLAIMS); do $(BIN)/python -m fedkd.experiments.reproduce.$${claim}_page; done
	$(BIN)/python -m fedkd.experiments.reproduce.gallery
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean:  ## remove what the targets above made
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
