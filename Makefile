# make notebooks and make test do all the set-up themselves: git, make and Python 3.10 or newer are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: notebooks test lint save-notebooks clean

# The four notebooks, headless, on the sample photos: executed copies and results in outputs/.
notebooks: $(VENV)/.installed
	$(BIN)/python notebooks/run.py

# Lint, unit tests, and the committed notebooks run again and compared with their outputs.
test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest --nbval tests notebooks

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# After a change to a notebook: run them all and keep the outputs in notebooks/.
save-notebooks: $(VENV)/.installed
	rm -rf outputs
	$(BIN)/python notebooks/run.py --save

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) outputs
