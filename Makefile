# Every target sets up .venv itself: git, make and Python 3.10 or newer are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: lab notebooks test test-extras fuzz interrupt lint save-notebooks figures bench demo page badges kaggle clean

# The notebooks in JupyterLab.
lab: $(VENV)/.installed
	$(BIN)/jupyter lab notebooks

# The four notebooks, headless, on the sample photos: executed copies and results in outputs/.
notebooks: $(VENV)/.installed
	$(BIN)/python tools/run_notebooks.py

# Lint, unit tests, and the committed notebooks run again and compared with their outputs. Two processes share the files;
# conftest.py says which come first.
test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n 2 --nbval tests notebooks

# What make test skips for want of the extras: exports, the model card, page and notebooks in a real Chromium (install it
# with its driver).
test-extras: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet -e ".[fast,demo,benchmark]" selenium huggingface_hub
	$(BIN)/python -m pytest -rs tests/test_export.py tests/test_demo.py tests/test_evaluation.py tests/test_publish.py \
		tests/test_jupyterlab.py tests/test_static_page.py

# Ten thousand strange inputs: files with damaged bytes, arguments of every form; the page too, where Gradio is installed.
fuzz: $(VENV)/.installed-test
	$(BIN)/python tests/fuzz.py

# Kill -9 at 20 random moments, full and read-only disks, two runs in one folder (Linux and macOS).
interrupt: $(VENV)/.installed-test
	$(BIN)/python tests/interrupt.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# After a change to a notebook: run them all and keep the outputs in notebooks/. Your own trainings in outputs/ stay.
save-notebooks: $(VENV)/.installed
	rm -rf outputs/saved
	INPAINT_OUTPUT_FOLDER=$(CURDIR)/outputs/saved $(BIN)/python tools/run_notebooks.py --save

# Every figure of results/ and the number tables of README and docs, from results/runs/, models/ and the sample photos.
figures: $(VENV)/.installed
	$(BIN)/python tools/make_figures.py

# Speed of the pipeline and of the training step, as ratios measured in one run.
bench: $(VENV)/.installed
	$(BIN)/python tools/bench_training.py

# A page to try it on, at http://127.0.0.1:7860, with its REST service.
demo: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[demo]"
	$(BIN)/python -m inpaint_utils.app.page

# A page that needs no server, one HTML file with the generator in it: outputs/page/index.html
page: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[fast]"
	$(BIN)/python tools/build_page.py

# Links to Colab and Kaggle, once the project is published: make badges REPOSITORY=owner/name
badges: $(VENV)/.installed
	$(BIN)/python tools/add_badges.py $(REPOSITORY)

# The notebooks and the module as Kaggle wants them, in outputs/kaggle/: make kaggle OWNER=name, PUSH=--push to publish
kaggle: $(VENV)/.installed
	$(BIN)/python tools/publish_kaggle.py $(OWNER) $(PUSH)

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
