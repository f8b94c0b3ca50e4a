# make demo: text to motion with the bundled model. make test: the test suite. Both set up .venv when it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What differs between builds of torch (CPU, CUDA): kept apart, so that a machine may bring its own build.
TORCH := ^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==

.PHONY: demo test lint app docs wheel lock audit clean

demo: $(VENV)/.ready
	$(BIN)/python demo.py --example demos/t2m.txt --out out/demo

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

app: $(VENV)/.ready-dev
	$(BIN)/python app.py

# not --quiet: it hides the warnings that --strict looks for
docs: $(VENV)/.ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

# What an earlier build left behind would go into the wheel, so it is removed first.
wheel: $(VENV)/.ready-dev
	rm -rf build *.egg-info
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

# After a change of pyproject.toml or constraints.txt. Versions come from constraints.txt; what it does not name is
# the newest that fits. Commit both files.
lock: $(VENV)/.ready-tools
	$(VENV)-tools/bin/uv pip compile pyproject.toml --extra dev --extra all --extra docs --universal \
		--python-version 3.10 --constraints constraints.txt --generate-hashes --no-header --no-annotate \
		--upgrade --quiet --output-file requirements.all
	awk -v torch='$(TORCH)' -f .ci/split_lock.awk requirements.all
	rm requirements.all

# Known weaknesses of the locked packages.
audit: $(VENV)/.ready-tools
	$(VENV)-tools/bin/pip-audit --no-deps --disable-pip -r requirements.lock -r requirements-torch.lock

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.ready-docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

# Tools that look at the locked packages live apart from them.
$(VENV)/.ready-tools: $(VENV)/.ready
	test -x $(VENV)-tools/bin/python || $(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/python -m pip install --quiet 'uv>=0.5' 'pip-audit>=2.8'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-tools out build dist site *.egg-info
