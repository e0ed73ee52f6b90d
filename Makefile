# Thin on purpose: every line calls a program that can also be called by hand.
# Variables: PYTHON=python3.12  ARGS=--no-browser  JOBS=4  TORCH_INDEX=<address> (see README)
# and for teachers ASSIGNMENT, SUBMISSIONS, CLASS, COURSE, UNSAFE, ROOT (see
# notebooks/assignment/README.md)
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
TORCH_INDEX ?=
JOBS ?= 2
COURSE ?= grading$(addprefix -,$(notdir $(ASSIGNMENT)))
CLASSROOM = $(BIN)/python -m classroom
# Jupyter asks for this where everything runs as root, as in a container.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help lab test check lint run page handout grade mark notebooks pretrained smallest pictures clean

help:        ## show this list
	@awk -F ': .*## ' '/^[a-z]+: .*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

lab: .venv/lab      ## install what is missing, then open JupyterLab on the first lesson
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(AS_ROOT) $(ARGS)

# Tests run side by side, a file in one worker: threads of their own would only be in each
# other's way. Lessons are tests too: --nbval-lax runs them. The network is cut for all.
# What takes more than a second is marked slow: `make check` leaves it out.
PYTEST = $(BIN)/python tools/offline.py $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
test check: export OMP_NUM_THREADS := 1
test: lint          ## run everything: lint, unit tests, notebooks, a real browser
	$(PYTEST) --no-loadscope-reorder --nbval-lax --durations=20 $(ARGS)

check: lint         ## run what a change is most likely to break, within a minute
	$(PYTEST) -m "not slow and not browser" --durations=5 $(ARGS)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

run: .venv/lab      ## run all lessons in order, without a screen; pages in build/
	$(BIN)/python tools/lessons.py run $(ARGS)

page: .venv/lab     ## write the explorer as one file: dist/pruning-lab.html, for any browser, offline
	$(BIN)/python -m labutils.page $(ARGS)

handout: .venv/teacher ## build what students get: dist/eai-lab2-handout.zip and the task sheet
	$(CLASSROOM).handout $(ARGS)

grade: .venv/teacher ## grade a class: make grade SUBMISSIONS=folder-or-zip
	@test -n "$(SUBMISSIONS)" || { echo \
	  "Say what to grade: make grade SUBMISSIONS=folder-or-zip (notebooks/assignment/README.md)"; exit 1; }
	$(CLASSROOM).grade "$(SUBMISSIONS)" --course "$(COURSE)" --jobs $(JOBS) $(if $(CLASS),--class "$(CLASS)") \
	  $(if $(UNSAFE),--unsafe) $(if $(ROOT),--as-root) $(ARGS)

mark: .venv/teacher ## mark written answers by hand: in JupyterLab, menu Nbgrader, Formgrader
	@test -d "$(COURSE)" || { echo "There is no $(COURSE) yet: first make grade SUBMISSIONS=folder-or-zip"; exit 1; }
	cd "$(COURSE)" && $(abspath $(BIN))/jupyter lab $(AS_ROOT) $(ARGS)

notebooks: .venv/test ## run all lessons again and store their outputs
	$(BIN)/python tools/lessons.py store $(ARGS)

pretrained: .venv/lab ## train the networks in models/pretrained again
	$(BIN)/python models/make_pretrained.py $(ARGS)

smallest: .venv/lab ## search for the networks in models/smallest again (an hour)
	$(BIN)/python models/make_smallest.py $(ARGS)

pictures: .venv/test ## take the screenshots in the README again
	$(BIN)/python -m pytest -m browser tests/browser
	cp build/screenshots/explorer.png docs/

clean:       ## remove what these commands made, the environment included
	rm -rf .venv build dist *.egg-info models/*.pth models/*.onnx data/MNIST/raw/*-ubyte data/MNIST/*.lock

# The environment: each stamp is made once and again when pyproject.toml changes.
.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo \
	  "$(PYTHON) is not Python 3.10 or newer: install one and say which, make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo \
	  "$(PYTHON) cannot make environments: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/lab: pyproject.toml | .venv/python
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install torch torchvision --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --editable '.[device]' || { \
	  echo "Without compiler and emulator, lesson 06 will show stored results."; \
	  $(BIN)/python -m pip install --editable .; }
	@touch $@

.venv/teacher: pyproject.toml | .venv/lab
	$(BIN)/python -m pip install --editable '.[teacher]'
	@touch $@

.venv/test: pyproject.toml | .venv/lab
	$(BIN)/python -m pip install --editable '.[test]'
	@touch $@
