# `make demo` and `make test` are all that is needed: each makes .venv first when it is missing or
# older than what it is made from. On a machine with an NVIDIA GPU they use TensorRT.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

# Most tests know what the emulation answers, and take it on a machine with a GPU as well.
ON_EMULATION := TRTLAB_BACKEND=emulated CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
ALL_TESTS := $(ON_EMULATION) $(RUN) python -m pytest -n 2 --dist worksteal
HAS_TENSORRT := python -c "import sys; from trtlab.backend import IS_EMULATED; sys.exit(IS_EMULATED)"

# Debian's packages that a target uses where they are, installed by whoever may install some.
SANDBOX := bwrap:bubblewrap prlimit:util-linux
DATABASE := psql:postgresql

.PHONY: help demo test coverage mutants attacks bench lab release lint lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(INSTALLED)  ## Take a model from PyTorch to three engines and compare them; grade a made-up class
	@$(call programs,$(SANDBOX))
	$(RUN) trtlab demo --output runs/demo
	$(RUN) trtlab-grade demo --output runs/class

test: $(INSTALLED)  ## Run the tests; on a GPU those of TensorRT too
	@$(call programs,$(SANDBOX) $(DATABASE))
	$(ALL_TESTS)
	@! $(RUN) $(HAS_TENSORRT) || { $(RUN) python -m pytest -m gpu lib/tests && $(RUN) python -m pytest lib/tests/inference; }

coverage: $(INSTALLED)  ## Run the tests and list the lines that they miss; takes a fifth longer
	@$(call programs,$(SANDBOX) $(DATABASE))
	$(ALL_TESTS) --cov --cov-report=term --cov-fail-under=90

mutants: $(INSTALLED)  ## Run the labs with wrong solutions in them; each must lose what it should
	@$(call programs,$(SANDBOX))
	$(ON_EMULATION) $(RUN) python -m pytest -n 2 -m mutants

attacks: $(INSTALLED)  ## Grade notebooks that attack the grader; each must get what it deserves
	@$(call programs,$(SANDBOX))
	$(ON_EMULATION) $(RUN) python -m pytest -n 2 -m attacks

bench: $(INSTALLED)  ## Measure speed on the GPU beside PyTorch, torch.compile and Polygraphy; draw it
	$(RUN) python docs/measurements/measure_speed.py runs/bench
	$(RUN) python docs/measurements/draw_speed.py runs/bench

lab: $(INSTALLED)  ## Open the labs in JupyterLab
	$(RUN) jupyter lab --notebook-dir=labs

release: $(INSTALLED)  ## Make labs/, the student release, from solutions/
	cd grader && $(RUN) nbgrader generate_assignment "*" --force --no-db

lint: $(INSTALLED)  ## Check style and types
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

lock:  ## Resolve pyproject.toml into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 \
		--fork-strategy fewest --no-header --no-annotate --quiet --output-file requirements.lock

clean:  ## Remove the environment, caches and everything that runs have written
	rm -rf .venv runs build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Install what is missing of PROGRAM:PACKAGE pairs where this is root on Debian; else say what that means.
define programs
for pair in $(1); do \
	program=$${pair%%:*} package=$${pair##*:}; \
	command -v $$program >/dev/null && continue; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Debian's package $$package"; \
		{ apt-get install -qq -y $$package || { apt-get update -qq && apt-get install -qq -y $$package; }; } \
			>/dev/null 2>&1 && continue; \
	fi; \
	echo "$$program is not here (Debian: apt install $$package): going on without it." >&2; \
done
endef

$(INSTALLED): requirements.lock requirements-gpu.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.10 to 3.13 found: install one (Debian: apt install python3 python3-venv)." >&2; exit 1; fi
	@if [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv .venv || { \
		echo "venv failed: on Debian, apt install python3-venv." >&2; rm -rf .venv; exit 1; }; fi
	@echo "Installing the pinned requirements into .venv (6 GB on disk, some minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@if nvidia-smi >/dev/null 2>&1; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-gpu.lock || { \
		echo; echo "The GPU requirements could not be installed (see above): pycuda needs the CUDA toolkit" \
		"(nvcc, cuda.h), tensorrt needs NVIDIA's package index."; \
		echo "Going on with the emulation. When that is mended: touch requirements-gpu.lock, and make again."; echo; } >&2; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
