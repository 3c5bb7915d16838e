# python3, pip and make are enough: every target first installs what it needs into .venv, once.
PYTHON ?= python3
OLDEST_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python) python3.10)
UV := .venv/uv/bin/uv

# Stamps are written last, so that an interrupted installation is taken up again.
UV_STAMP := .venv/uv.stamp
INSTALLED := .venv/installed.stamp
OLDEST := .venv-oldest/installed.stamp
FORKS := .venv-forks/installed.stamp
ONEDL := onedl-mmengine==0.10.12 onedl-mmsegmentation==1.4.2 onedl-mmcv==2.3.6

.DEFAULT_GOAL := help
.PHONY: help install test demo demo-all student app parity speed docs check format test-oldest test-forks clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED)  ## put the tested set of requirements.txt and the project into .venv

test: $(INSTALLED)  ## run the tests
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

demo: $(INSTALLED)  ## evaluate ten methods on the toy world, offline
	.venv/bin/python tools/toy_demo.py

demo-all: $(INSTALLED)  ## evaluate every method there
	.venv/bin/python tools/toy_demo.py --all

student: $(INSTALLED)  ## a teacher and its student on the toy world, offline, in some six minutes
	.venv/bin/python sclip_seg_cli.py toy-student

app: $(INSTALLED)  ## a page to play with, on this machine only: make app APP="--backbone toy"
	.venv/bin/python tools/app.py $(APP)

parity: $(INSTALLED)  ## compare with the official codes' outputs: make parity PARITY=DIR
	@test -n "$(PARITY)" || { echo "usage: make parity PARITY=DIR" >&2; exit 2; }
	.venv/bin/python tools/parity.py "$(PARITY)"

speed: $(INSTALLED)  ## what a picture costs beside the bare vision transformer
	.venv/bin/python tools/speed.py

docs: $(INSTALLED)  ## build the documentation into work_dirs/site, and look for broken links
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build

check: $(INSTALLED)  ## lint, and see that every file is formatted
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: $(INSTALLED)  ## format, and mend what the linter can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

test-oldest: $(OLDEST)  ## run the tests on the lowest versions that pyproject.toml admits
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-forks: $(INSTALLED) $(FORKS)  ## evaluate and train with OpenMMLab's maintained forks, from .venv-forks
	SCLIP_SEG_FORKS="$(CURDIR)/.venv-forks" .venv/bin/python -m pytest tests/test_forks.py
	PYTHONPATH="$(CURDIR)/.venv-forks" .venv/bin/python -m pytest tests/students

clean:  ## remove the environments and the caches; data and results stay
	rm -rf .venv .venv-oldest .venv-forks .pytest_cache .ruff_cache .hypothesis *.egg-info
	find sclip_seg tools tests -name __pycache__ -prune -exec rm -rf {} +

# Where uv's cache lies on another file system it must copy, and warns unless told to.
LINK_MODE = $(shell cache=$$($(UV) cache dir); mkdir -p "$$cache"; \
	test "$$(stat -c %d "$$cache" .venv | sort -u | wc -l)" -eq 1 && echo hardlink || echo copy)

# $(call fill,ENVIRONMENT,REQUIREMENTS): wheels only, nothing is compiled. opencv-python loads libGL and glib;
# a machine without them gets the same release without windows, which nothing here opens.
define fill
	$(UV) pip install --python $(1) --link-mode $(LINK_MODE) --compile-bytecode --only-binary :all: $(2)
	$(UV) pip install --quiet --python $(1) --no-deps --editable .
	@$(1)/bin/python -c "import cv2" 2>/dev/null || $(call headless,$(1),$(1)/headless.txt)
	@touch $(1)/installed.stamp
endef

define headless
{ \
	$(UV) pip freeze --python $(1) | sed -n 's/^opencv-python==/opencv-python-headless==/p' > $(2) && \
	$(UV) pip uninstall --python $(1) opencv-python && \
	$(UV) pip install --python $(1) --no-deps --reinstall --only-binary :all: -r $(2); }
endef

# Debian's python3 has no ensurepip: the environment does without a pip of its own, and python3's brings uv.
$(UV_STAMP):
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))" || \
		{ echo "sclip_seg needs Python 3.10 to 3.14: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -m pip --version > /dev/null || \
		{ echo "install pip (Debian: python3-pip), or make PYTHON=/path/to/a/python3/with/pip ..." >&2; exit 1; }
	$(PYTHON) -m venv --without-pip .venv
	PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
		$(PYTHON) -m pip install --quiet --upgrade --target .venv/uv uv
	@touch $@

$(INSTALLED): requirements.txt pyproject.toml $(UV_STAMP)
	$(call fill,.venv,-r requirements.txt)

$(OLDEST): pyproject.toml $(UV_STAMP)
	$(UV) venv --quiet --clear --no-python-downloads --python $(OLDEST_PYTHON) .venv-oldest 2>/dev/null || \
		$(UV) venv --quiet --clear --python .venv/bin/python .venv-oldest
	$(call fill,.venv-oldest,--resolution lowest-direct --extra test -r pyproject.toml)

# Found before what .venv has under the same names; of mmcv there is no wheel, and its ops are left out.
$(FORKS): Makefile $(UV_STAMP)
	rm -rf .venv-forks
	MMCV_WITH_OPS=0 $(UV) pip install --python .venv --target .venv-forks --link-mode $(LINK_MODE) --no-deps $(ONEDL)
	@touch $@
