# make demo    trains the digit network, writes its atlas, serves it        make test    the test suite, under ten minutes on two cores
# make check   formatting, lints, types                                      make test-all  the slow tests too

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check browser clean

# Installing is done once: the stamps are renewed only when what they depend on changes. torch comes first and pinned, so that
# nothing else can bring in another build of it.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing convscope into $(VENV) …"
	$(PIP) torch==2.13.0
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what the tests need …"
	$(PIP) -e ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/convscope demo --out demo-atlas $(DEMO)

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(TESTS)

test-all: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(TESTS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/pyright

clean:
	rm -rf $(VENV) demo-atlas .pytest_cache .ruff_cache .hypothesis
