# make run and make test do everything on a fresh machine: Python 3.11 to 3.13, make and a C compiler are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# uv does not read pip's settings: hand on where this machine keeps wheels, its index and its certificates.
comma := ,
empty :=
space := $(empty) $(empty)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
export SSL_CERT_FILE ?= $(PIP_CERT)
ifeq ($(UV_FIND_LINKS),)
unexport UV_FIND_LINKS
endif
ifeq ($(UV_DEFAULT_INDEX),)
unexport UV_DEFAULT_INDEX
endif
ifeq ($(SSL_CERT_FILE),)
unexport SSL_CERT_FILE
endif
# Ray would otherwise re-create uv environments in its workers.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV = 0

RUNS := runs/make-run
# The torch that is pinned: one for which CPU wheels are at hand.
TORCH ?= 2.13.0

.PHONY: help setup run test pytest test-slow test-cluster lint format mutants bench bench-snn bench-sampling bench-spiking-a2c bench-car-racing bench-plasticity bench-equality bench-ablations bench-maml bench-latency bench-faults bench-scaling bench-evaluations requirements tables docs notebooks clean bench-gpu

help:  ## Show the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Install everything into .venv

$(STAMP): pyproject.toml requirements.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PY) -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --constraint requirements.txt --editable '.[dev,docs,report,tune,box2d-py,learn2learn]'
	@touch $(STAMP)

run: $(STAMP)  ## Train a spiking PPO agent on CartPole, evaluate it, write curve and policy
	@last=$$(ls -d $(RUNS)/* 2>/dev/null | tail -1); \
	if [ -n "$$last" ] && [ ! -f "$$last/result.json" ]; then \
	  echo "Going on with $$last"; $(VENV)/bin/synrl train --resume "$$last"; \
	else \
	  $(VENV)/bin/synrl train cartpole-ppo --policy spiking --seed 0 --run-dir "$(RUNS)/$$(date +%Y%m%d-%H%M%S)"; \
	fi

test: $(STAMP)  ## Lint, types, import contracts and tests (no slow learning runs), at the same time
	@$(MAKE) --no-print-directory -j 2 lint pytest

pytest: $(STAMP)
	SYNRL_DATA=$${SYNRL_DATA:-$(wildcard ../shared/data)} $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP)  ## The slow learning runs
	$(PY) -m pytest -m slow

test-cluster: $(STAMP)  ## A real cluster of two hosts in network namespaces (root, sshd and rsync; minutes)
	$(PY) -m pytest -m cluster -s tests/cluster

lint: $(STAMP)  ## Style, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(STAMP)  ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: bench-snn bench-sampling bench-spiking-a2c bench-car-racing bench-equality bench-plasticity bench-maml bench-latency  ## All benchmarks

bench-snn: $(STAMP)  ## Spiking layers against snntorch (and the peers extra, where installed)
	$(PY) benchmarks/snn.py
	$(PY) benchmarks/event_driven.py

bench-sampling: $(STAMP)  ## Environment steps per second against stock RLlib (and the peers extra, where installed)
	$(PY) benchmarks/sampling.py --peers

bench-spiking-a2c: $(STAMP)  ## A spiking A2C on CartPole with other libraries' networks
	$(PY) benchmarks/spiking_a2c.py

bench-car-racing: $(STAMP)  ## Frames per second of CarRacing alone
	$(PY) benchmarks/car_racing.py

bench-equality: $(STAMP)  ## Whether PPO on batched rollouts learns what stock RLlib's learns
	$(PY) benchmarks/learning_equality.py

bench-plasticity: $(STAMP)  ## Synapse updates per second against BindsNET (peers extra), Taxi against a plain loop
	$(PY) benchmarks/plasticity.py
	$(PY) benchmarks/tabular.py

bench-ablations: $(STAMP)  ## What each part of the local learners is worth (half an hour)
	$(PY) benchmarks/maze_ablation.py --table experiments/results/tables/maze-ablation.json
	$(PY) benchmarks/stdp_q_ablation.py --table experiments/results/tables/taxi-ablation.json
	$(PY) benchmarks/timing_tasks.py --table experiments/results/tables/temporal-order.json
	$(PY) benchmarks/timing_tasks.py --task time-to-first-spike --table experiments/results/tables/time-to-first-spike.json
	$(PY) benchmarks/timing_tasks.py --task theta-track --table experiments/results/tables/theta-track.json
	$(PY) benchmarks/changing_cues.py --table experiments/results/tables/changing-cues.json

bench-faults: $(STAMP)  ## What is lost when something dies, and how soon a run goes on
	$(PY) benchmarks/faults.py
	$(PY) benchmarks/checkpoint.py

bench-scaling: $(STAMP)  ## Throughput with 0, 1 and 2 env runners, and the driver's share on a simulated cluster
	$(PY) benchmarks/scaling.py
	$(PY) benchmarks/scaling.py --env breakout cartpole --simulated 1 2 4 8

bench-evaluations: $(STAMP)  ## CartPole with evaluations in between, and parallel to training
	$(PY) benchmarks/evaluations.py
	$(PY) benchmarks/evaluations.py interim_episodes=100

bench-maml: $(STAMP)  ## Meta-iterations per second against learn2learn (and torchopt, where installed)
	$(PY) benchmarks/maml.py

bench-latency: $(STAMP)  ## Microseconds a decision of each committed policy and of its twin (ONNX Runtime: the peers extra)
	$(PY) benchmarks/latency.py

bench-gpu: $(STAMP)  ## Engine, learner and end-to-end rates on a GPU against snnTorch (and SpikingJelly, where installed)
	$(PY) benchmarks/gpu.py

mutants: $(STAMP)  ## Mutation testing: whether the unit tests notice a sample of small faults (some minutes)
	$(PY) benchmarks/mutation.py

requirements: $(STAMP)  ## Pin the newest versions that fit, into requirements.txt
	echo 'torch==$(TORCH)' | $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --all-extras --constraint - pyproject.toml \
	  | sed -E '/^nvidia-|^cuda-/d; s/\+cpu//' > requirements.txt.new
	mv requirements.txt.new requirements.txt

tables: $(STAMP)  ## Write the tables of README.md and docs/results.md from experiments/results
	$(PY) benchmarks/tables.py

docs: $(STAMP)  ## Build the documentation as a site, into build/site
	$(PY) docs/build_site.py

notebooks: $(STAMP)  ## Execute docs/notebooks, and keep their outputs (some minutes)
	SYNRL_DATA=$${SYNRL_DATA:-$(wildcard ../shared/data)} $(PY) docs/run_notebooks.py

clean:  ## Remove what make has made (runs stay)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
