# Everything runs in .venv with the versions in constraints.txt. README's two commands are `demo` and `test` spelled out.

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/pip install --quiet -c constraints.txt

.PHONY: demo test check types docs man release-check bench example clean

demo: $(VENV)/.cpu
	$(VENV)/bin/edgec build demo --target cpu

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.test
	$(VENV)/bin/ruff check --no-cache .   # a cached answer may predate a module that an import names
	$(VENV)/bin/ruff format --check .
	$(MAKE) types

types: $(VENV)/.test
	$(VENV)/bin/mypy
	rm -rf build/programs
	$(VENV)/bin/python -m edgec.backends.unpack build/programs
	cd build/programs/jetson && $(abspath $(VENV))/bin/mypy --strict --config-file /dev/null --cache-dir /dev/null .
	cd build/programs/cpu && $(abspath $(VENV))/bin/mypy --strict --config-file /dev/null --cache-dir /dev/null .
	cd build/programs/rtx && $(abspath $(VENV))/bin/mypy --strict --config-file /dev/null --cache-dir /dev/null .
	cd build/programs/apple && $(abspath $(VENV))/bin/mypy --strict --config-file /dev/null --cache-dir /dev/null .

# Two heads on one backbone, on the pictures and the video of the shared data folder (DATA).
DATA ?= $(or $(EDGEC_DATA),../shared/data)
example: $(VENV)/.examples
	$(VENV)/bin/python examples/heads/robot.py --data $(DATA) --output build/example

docs: $(VENV)/.docs
	$(VENV)/bin/mkdocs build --strict

# A man page for each command, in build/man: copy them to a folder of `manpath`, such as ~/.local/share/man/man1.
man: $(VENV)/.docs
	$(VENV)/bin/python .ci/man build/man

# The wheel and the source distribution, each in an environment of its own; the demo is built from both.
release-check: $(VENV)/.test
	.ci/release $(VENV)/bin/python

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.cpu: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) -e '.[build,cpu]'
	touch $@

$(VENV)/.test: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) -e '.[build,cpu,apple,bundle,dask,html,nvidia,video,test]'
	$(PIP) --no-deps timm
	touch $@

$(VENV)/.docs: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) -e '.[docs]'
	touch $@

$(VENV)/.bench: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) -e '.[video,bench]'
	touch $@

$(VENV)/.examples: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) -e '.[build,cpu,apple,video,examples]'
	touch $@
