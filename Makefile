# Everything happens in .venv, which holds exactly what requirements.lock and requirements-dev.lock name.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
# Suites that have targets of their own.
OTHERS := faults cluster k8s slurm board container
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile $(OTHERS:%=--ignore=tests/%)
# Named after the Python, so that another one makes another environment.
READY := .venv/ready-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)

.DEFAULT_GOAL := help
DATA ?= trajectories/alanine-dipeptide
.PHONY: help setup run test test-long test-faults test-cluster test-k8s test-slurm test-board picture-board \
  test-container docs format lock bench bench-consistency bench-accuracy

help:
	@echo 'make run       train, sample, simulate and report on Mueller-Brown: runs/mueller-brown/report.html'
	@echo '               (make run ARGS="--name mine --method mixture" hands options to fokker)'
	@echo 'make setup     only prepare .venv'
	@echo 'make test      lint, types and tests'
	@echo 'make test-long      whole runs, and other tests of half a minute'
	@echo 'make test-faults    every fault that trainings and campaigns survive, for real; prints docs/faults.md'
	@echo 'make test-cluster   an expert group over several hosts, as root (network namespaces)'
	@echo 'make test-k8s       what Kubernetes would be given, against its schemas and the operator'"'"'s rules'
	@echo 'make test-slurm     jobs of a real Slurm on such hosts, as root (needs slurmctld, slurmd, munge)'
	@echo 'make test-board     TensorBoard on real runs, in a real browser (chromium)'
	@echo 'make picture-board  the same on runs of full size; makes docs/tensorboard.png'
	@echo 'make test-container the image of k8s/Dockerfile, really built, as root (buildah, debootstrap)'
	@echo 'make docs      the site: build/site/index.html (from a server, it has a search)'
	@echo 'make bench     every script in benchmarks/ but the next two, about six minutes'
	@echo 'make bench-consistency DATA=...   every consistency term for ten minutes each, on alanine dipeptide'
	@echo 'make bench-accuracy DATA=...      every method on alanine dipeptide, about three hours; can be interrupted'
	@echo 'make format    format the code'
	@echo 'make lock      resolve the four requirements*.lock again'
	@echo 'PYTHON=...     the Python to build .venv from, 3.11 or newer (now: $(PYTHON))'

setup: $(READY)

run: $(READY)
	$(BIN)/fokker run mueller-brown $(ARGS)

test: $(READY)
	@$(BIN)/python -c 'import sys; print("Python", sys.version)'
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(PYTEST) -m "not long" $(ARGS)

test-long: $(READY)
	$(PYTEST) -m long $(ARGS)

test-faults: $(READY)
	$(BIN)/pytest tests/faults $(ARGS)

test-cluster: $(READY)
	$(BIN)/pytest tests/cluster $(ARGS)

test-slurm: $(READY)
	$(BIN)/pytest tests/slurm $(ARGS)

test-board: $(READY)
	$(BIN)/pytest tests/board $(ARGS)

picture-board: $(READY)
	FOKKER_PICTURE=docs/tensorboard.png $(BIN)/pytest tests/board $(ARGS)

test-container: $(READY)
	$(BIN)/pytest tests/container $(ARGS)

LONG := consistency accuracy
bench: $(READY)
	for script in $(filter-out $(LONG:%=benchmarks/%.py),$(wildcard benchmarks/*.py)); do \
	  $(BIN)/python $$script || exit 1; done

bench-consistency: $(READY)
	$(BIN)/python benchmarks/consistency.py --data $(DATA) $(ARGS)

bench-accuracy: $(READY)
	$(BIN)/python benchmarks/accuracy.py --data $(DATA) $(ARGS)

test-k8s: $(READY)
	$(BIN)/pytest tests/k8s $(ARGS)

# Its tools come into .venv when it is first built: nothing else needs them. At each build the theme would announce
# that it ends in May 2027, for Zensical of the same authors.
DOCS := .venv/ready-docs
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(DOCS): $(READY) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements-docs.lock
	@touch $@

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# What the package can use, what its developers need beside that, what GPUs need beside that, and what the site needs
# beside what the package and its developers do: names, versions and hashes, the same for every Python that
# pyproject.toml admits; no index, so that they install from any. All are resolved together, and no package is in two of
# them, but for colorama, which others need on Windows alone.
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 \
  --no-emit-index-url --no-annotate --no-header --quiet
USED := $(patsubst %,--extra %,cluster hdf5 kinetics openmm tensorboard train)

lock: $(READY)
	$(COMPILE) --all-extras --upgrade -o build/all.lock
	$(COMPILE) $(USED) --constraint build/all.lock --generate-hashes -o requirements.lock
	for extra in dev cuda; do \
	  $(COMPILE) $(USED) --extra $$extra --constraint build/all.lock --generate-hashes -o requirements-$$extra.lock \
	    $$(sed -n 's/^\([^=]*\)==.*/--no-emit-package \1/p' requirements.lock) || exit 1; done
	$(COMPILE) --extra docs --constraint build/all.lock --generate-hashes -o requirements-docs.lock \
	  $$(sed -n '/^colorama==/!s/^\([^=]*\)==.*/--no-emit-package \1/p' requirements.lock requirements-dev.lock)

$(READY): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "fokker needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements.lock -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)
