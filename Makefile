# One command a chore, the same here and in CI. `make demo` and `make test` set themselves up.
#
#   setup   .venv with the package, its extras and the development tools (once); `make demo` needs the package alone
#   demo    enhance the example radiographs; tables, TIFFs and a before/after page go to demo/
#   test    the tests, offline and on the CPU; `make test-slow` runs the long ones
#   test-wheel   build the wheel, install it into an empty environment, use it from another folder
#   test-container   build the container's image and use it, where root, buildah and debootstrap are there
#   check   lint, format, types, layer rule
#   bench   speed on this host; `make quality` scores the default on simulated pairs and at the limit (an hour and more)
#   weights train all weights that ship anew, into runs/ (over three hours on two cores; a run that was stopped goes on)
#   docs    write the reference from the code and the results from benchmarks/*.json, check links
#   clean   remove what the other targets made, except .venv

# The Python that makes .venv; empty: the first of these that is new enough.
PYTHON ?=
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11)
# Test processes, each with one thread of torch: two of them beat two threads on two cores.
JOBS ?= 2

BIN := .venv/bin
# The package with what enhancing needs, and the rest: torch, the other engine, the tools.
PACKAGE := .venv/.package
READY := .venv/.ready

# Every pip call, also one that a tool makes, obeys the tested versions.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test test-slow test-wheel test-container check bench quality weights docs clean

setup: $(READY)

$(PACKAGE): pyproject.toml constraints.txt
	@python=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'error: expected Python 3.11 or newer, found none among: $(CANDIDATES); install one, or name it: make setup PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	echo "Creating .venv with $$("$$python" --version)"; \
	"$$python" -m venv .venv
	@echo "Installing the package"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(READY): $(PACKAGE)
	@echo "Installing extras and tools (torch is large: minutes on the first run)"
	@$(BIN)/python -m pip install --quiet --editable '.[openvino,train,dev]'
	@touch $@
	@echo "Ready: $(BIN)/longexposure --help"

demo: $(PACKAGE)
	@$(BIN)/python examples/demo.py --out demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --timeout 120

test-slow: $(READY)
	$(BIN)/python -m pytest -m 'slow and not gpu' --timeout 900

test-wheel: $(READY)
	@scripts/test_wheel.sh $(BIN)/python

test-container: $(READY)
	@scripts/test_container.sh $(BIN)/python

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/speed.py --short

quality: $(READY)
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/limit.py

weights: $(READY)
	@for name in fast-first fast best; do \
	  resume=; if [ -e "runs/$$name/state.safetensors" ]; then resume=--resume; fi; \
	  OMP_NUM_THREADS=1 $(BIN)/longexposure train "$$name" --out "runs/$$name" --devices 2 $$resume || exit 1; \
	done

docs: $(READY)
	$(BIN)/python scripts/reference.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python -m pytest -q tests/project/test_project.py -k markdown

clean:
	rm -rf build dist demo .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
