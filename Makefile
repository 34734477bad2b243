# Every target uses .venv, which `make setup` (or any other target) creates once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONSTRAINTS ?= constraints.txt
PROFILE ?= quick
NAME ?=
SHIP ?=
PARAMS ?=
CATALOGUE ?=
MINUTES ?=
RUN ?=
UNEXECUTED ?=
WEIGHTS ?=
OUT ?= $(CURDIR)/runs/evaluation

# Paths in NAME, PARAMS, WEIGHTS, CATALOGUE, RUN, OUT and WEIGHTING mean what they mean where make was typed, -C
# (which sets the flag w) included; the project's own commands are run from there.
TYPED := $(if $(findstring w,$(firstword -$(MAKEFLAGS))),$(PWD),$(CURDIR))
THERE := cd "$(TYPED)" && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(BIN)/"
SERIES := notebooks/run.py
EXERCISES := tools/exercises.py
BOOK := tools/book.py

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

setup: $(READY)  ## make the environment alone (CONSTRAINTS= takes the newest versions)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or run make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; about 6 GB with CUDA libraries on Linux, 5 to 20 minutes)"
	$(BIN)/python -m pip install --progress-bar on $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) torch torchvision
	$(BIN)/python -m pip install --progress-bar on $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[test]'
	@touch $(READY)

run: $(READY)  ## execute the notebooks (PROFILE=quick|full, smoke: nothing is learned; NAME=..., PARAMS="-p EPOCHS 3")
	$(THERE)python "$(CURDIR)/$(SERIES)" --profile $(PROFILE) $(if $(NAME),--name "$(NAME)") $(PARAMS)

test: $(READY)  ## lint, types and the whole test suite, notebooks included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

test-colab: $(READY)  ## run every notebook as on a fresh Colab machine (downloads about 3 GB once; COLAB_PYTHON=python3.13)
	$(BIN)/python tests/colab.py $(if $(COLAB_PYTHON),--python $(COLAB_PYTHON))

test-browser: $(READY)  ## drive notebook 06 in a real browser (needs Debian's chromium; skipped with a reason without)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	$(BIN)/python tests/browser.py
	$(BIN)/python tests/browser_demo.py

fuzz: MINUTES = 1
fuzz: $(READY)  ## read damaged pictures made at random, MINUTES=1 long
	PYTHONPATH=. $(BIN)/python tests/fuzz_pictures.py --minutes $(MINUTES)

audit: $(READY)  ## known vulnerabilities of the pinned packages (needs the network)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[audit]'
	$(BIN)/python tools/audit.py

bench: $(READY)  ## speed, beside the original project's way
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.files
	$(BIN)/python -m benchmarks.photos
	$(BIN)/python -m benchmarks.many
	$(BIN)/python -m benchmarks.runtimes

demo: $(READY)  ## build the web page docs/demo (needs npm; PORT=8000 also serves it)
	$(BIN)/python tools/demo.py $(if $(PORT),--serve $(PORT))

book: $(READY)  ## build the book of the newest run in build/book (RUN=runs/NAME; UNEXECUTED=1: notebooks without outputs)
	$(THERE)python "$(CURDIR)/$(BOOK)" $(if $(UNEXECUTED),--unexecuted) $(if $(RUN),"$(RUN)")

train: $(READY)  ## train the shipped weights into runs/train; resumes (SHIP=1 also writes eva_helpers/weights; WEIGHTING=tuned.json)
	$(THERE)python -m experiments.train_shipped $(if $(SHIP),--ship) $(if $(WEIGHTING),--weighting "$(WEIGHTING)")

finetune: OUT = $(CURDIR)/runs/finetuned
finetune: $(READY)  ## train the shipped weights further on your photos (CATALOGUE=my-photos OUT=runs/tuned MINUTES=15)
	@test -n "$(CATALOGUE)" || { echo "error: which photos? make finetune CATALOGUE=my-photos"; exit 2; }
	$(THERE)python -m eva_helpers finetune "$(CATALOGUE)" --out "$(OUT)" $(if $(MINUTES),--minutes $(MINUTES))

evaluate: $(READY)  ## score weights on the test split into runs/evaluation (WEIGHTS=..., OUT=...)
	$(THERE)python -m eva_helpers evaluate --out "$(OUT)" $(if $(WEIGHTS),--weights "$(WEIGHTS)")

variants: $(READY)  ## train variants of network, data, losses and schedule; resumes; about two minutes each
	$(BIN)/python -m experiments.variants

bank: $(READY)  ## train the narrow networks of notebook 06, and score them
	$(BIN)/python -m experiments.train_bank

balances: $(READY)  ## ways to balance mask and depth, on narrow networks; resumes
	$(BIN)/python -m experiments.balances

report: $(READY)  ## write measured figures into README and docs/results.md (RUN=runs/NAME also copies its pictures)
	$(BIN)/python tools/report.py $(RUN)

diagrams: $(READY)  ## draw the diagrams of notebooks and README
	$(BIN)/python tools/diagrams.py

exercises: OUT = $(CURDIR)/runs/exercises
exercises: $(READY)  ## the notebooks without the solutions of their exercises, into OUT=folder
	$(THERE)python "$(CURDIR)/$(EXERCISES)" "$(OUT)"

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyter lab notebooks

park:  ## render the embedded park with Blender (needs the `render` extra, Python 3.11; not needed to use the project)
	$(PYTHON) tools/render/dogs.py --out assets/park --count 40
	$(PYTHON) tools/render/scenes.py --out assets/park --count 150
	$(PYTHON) tools/render/pairs.py --out assets/park
	$(PYTHON) tools/render/pairs.py --out assets/park --split train --each 1
	$(PYTHON) tools/render/pairs.py --out assets/park --hideouts
	$(PYTHON) tools/render/large_pair.py --out assets/park --to assets/pair --view 0018_a
	$(PYTHON) tools/render/scenes.py --out assets/park --contact-sheet assets/park/sheets/scenes.webp
	$(PYTHON) tools/render/dogs.py --out assets/park --contact-sheet assets/park/sheets/dogs.webp
	$(PYTHON) tools/render/pairs.py --out assets/park --contact-sheet assets/park/sheets/pairs.webp

clean:  ## remove the environment, the book and caches; runs/ stays
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache *.egg-info

.PHONY: help setup run test test-colab test-browser fuzz audit bench demo book train finetune evaluate variants bank balances report diagrams exercises lab park clean
