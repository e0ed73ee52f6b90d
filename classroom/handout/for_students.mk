# Linux and macOS: `make lab` sets up an environment in .venv and opens the assignment.
# Variables: PYTHON=python3.12  ARGS=--no-browser  TORCH_INDEX=<address> (see README.md)
PYTHON ?= python3
BIN := .venv/bin

.PHONY: lab
lab: .venv/ready    ## install what is missing, then open the assignment
	$(BIN)/jupyter lab NOTEBOOK.ipynb $(ARGS)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install torch torchvision --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --editable '.[device]' || { \
	  echo "Without compiler and emulator, lesson 06 will show stored results."; \
	  $(BIN)/python -m pip install --editable .; }
	@touch $@
