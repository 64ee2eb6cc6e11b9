"""Stock RLlib algorithms with this project's modules: which cells learn, and which are refused when built, and why.

Run:
    python benchmarks/stock_algorithms.py                       # every cell
    python benchmarks/stock_algorithms.py --only PPO TQC        # some algorithms
    python benchmarks/stock_algorithms.py --table experiments/results/tables/stock-algorithms.json   # kept there, too

Cells are algorithm, module (``ActorCriticModule``, for DQN ``QModule``; or RLlib's default module with
``SpikingCatalog``) and state: every observation from rest, or carried. What starts from rest learns CartPole-v1, in SAC
and TQC a point that is pushed to a target; what carries a state learns a cue that is shown once. BC and MARWIL learn
from 40 episodes of an expert. A cell learns as soon as 20 greedy episodes on other seeds have the mean return of the
task's mark; a cell that does not within its environment steps (or updates) is shown as such, and the command ends with
exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env
from stock_tasks import CARTPOLE, REACH, RECALL, Task, greedy_return, random_return, recorded

from synrl_ray.errors import UserError
from synrl_ray.rl_modules import ActorCriticModule, QModule, SpikingCatalog
from synrl_ray.running.own_ray import own_ray
from synrl_ray.settings.policies import SpikingPolicy

OFFLINE, OF_ACTIONS = ("BC", "MARWIL"), ("SAC", "TQC")
ALGORITHMS = ("PPO", "APPO", "IMPALA", "DQN", *OF_ACTIONS, *OFFLINE)
STATES = {
    "from rest": SpikingPolicy(hidden_sizes=(64,), steps_per_observation=4, input_gain=2.0),
    "carried": SpikingPolicy(
        hidden_sizes=(64,), steps_per_observation=2, input_gain=2.0, carry_state=True, max_seq_len=6
    ),
}
TRAINING: dict[str, dict[str, Any]] = {
    "PPO": {"lr": 2e-3, "train_batch_size_per_learner": 1024, "minibatch_size": 128, "num_epochs": 6, "grad_clip": 0.5},
    "APPO": {"lr": 1e-3, "train_batch_size_per_learner": 500, "grad_clip": 10.0},
    "IMPALA": {"lr": 2e-3, "train_batch_size_per_learner": 500, "grad_clip": 10.0},
    "DQN": {"lr": 1e-3, "train_batch_size_per_learner": 64, "num_steps_sampled_before_learning_starts": 500},
    "SAC": {"actor_lr": 2e-3, "critic_lr": 2e-3, "alpha_lr": 2e-3, "train_batch_size_per_learner": 128},
    "TQC": {"actor_lr": 2e-3, "critic_lr": 2e-3, "alpha_lr": 2e-3, "train_batch_size_per_learner": 128},
    "BC": {"lr": 3e-3},
    "MARWIL": {"lr": 3e-3},
}
MOST_STEPS, MOST_UPDATES = 100_000, 400


def modules_of(algorithm: str) -> tuple[str, str]:
    """The names of the two columns."""
    return "QModule" if algorithm == "DQN" else "ActorCriticModule", "SpikingCatalog"


def task_of(algorithm: str, state: str) -> Task:
    """What a cell learns."""
    if state == "carried":
        return RECALL
    return REACH if algorithm in OF_ACTIONS else CARTPOLE


def config_of(algorithm: str, module: str, state: str) -> AlgorithmConfig:
    """RLlib's configuration of a cell."""
    task, policy = task_of(algorithm, state), STATES[state]
    folder = importlib.import_module(f"ray.rllib.algorithms.{algorithm.lower()}")
    config: AlgorithmConfig = getattr(folder, f"{algorithm}Config")()
    register_env(task.name, lambda config: task.make())
    env = task.make()
    config.environment(task.name, observation_space=env.observation_space, action_space=env.action_space)
    config.env_runners(num_env_runners=0).learners(num_learners=0).debugging(seed=0, log_level="ERROR")
    config.training(gamma=0.5 if state == "carried" else 0.99, **TRAINING[algorithm])
    classes = {"ActorCriticModule": ActorCriticModule, "QModule": QModule}
    given: dict[str, Any] = (
        {"catalog_class": SpikingCatalog} if module == "SpikingCatalog" else {"module_class": classes[module]}
    )
    config.rl_module(model_config=asdict(policy), rl_module_spec=RLModuleSpec(**given))
    if algorithm == "PPO":
        config.training(vf_clip_param=1e9, use_kl_loss=False, entropy_coeff=0.01).env_runners(num_envs_per_env_runner=8)
    if algorithm in ("APPO", "IMPALA"):
        config.training(entropy_coeff=0.01).env_runners(num_envs_per_env_runner=5, rollout_fragment_length=50)
    if algorithm == "DQN":
        config.training(epsilon=[(0, 1.0), (4_000, 0.05)], target_network_update_freq=200, training_intensity=32.0)
        config.training(replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 50_000})
    if algorithm in OF_ACTIONS:
        config.training(num_steps_sampled_before_learning_starts=300)
    return config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=500)


def online(config: AlgorithmConfig, task: Task) -> dict[str, Any]:
    """Train where the environment is stepped."""
    algorithm = config.build_algo()
    found, steps = -float("inf"), 0
    try:
        while found < task.enough and steps < MOST_STEPS:
            steps = int(algorithm.train()["num_env_steps_sampled_lifetime"])
            found = greedy_return(algorithm.get_module(), task)
    finally:
        algorithm.stop()
    return {"return": found, "env_steps": steps}


def offline(config: AlgorithmConfig, task: Task) -> dict[str, Any]:
    """Train a learner on recorded episodes, through RLlib's own connectors."""
    spaces = {DEFAULT_MODULE_ID: (config.observation_space, config.action_space)}
    learner = config.build_learner(spaces=spaces)
    learner.build()
    module, episodes = learner.module[DEFAULT_MODULE_ID].unwrapped(), recorded(task, 40)
    found, updates = -float("inf"), 0
    while found < task.enough and updates < MOST_UPDATES:
        for _ in range(20):
            chosen = [episodes[int(i)] for i in torch.randperm(len(episodes))[:8]]
            learner.update(episodes=chosen, timesteps={"num_env_steps_sampled_lifetime": updates})
            updates += 1
        found = greedy_return(module, task)
    return {"return": found, "updates": updates}


def cell(algorithm: str, module: str, state: str) -> dict[str, Any]:
    """What a cell of the table shows."""
    torch.manual_seed(0)
    task, began = task_of(algorithm, state), time.perf_counter()
    row = {"condition": f"{algorithm}, {module}, {state}", "algorithm": algorithm, "module": module, "state": state}
    try:
        found = (offline if algorithm in OFFLINE else online)(config_of(algorithm, module, state), task)
    except UserError as refused:
        return row | {"outcome": "refused", "reason": str(refused)}
    learned = "learns" if found["return"] >= task.enough else "does not learn"
    seconds = round(time.perf_counter() - began, 1)
    rounded = found | {"return": round(found["return"], 2)}
    return row | {"outcome": learned, "task": task.name, "mark": task.enough} | rounded | {"seconds": seconds}


def cells(only: list[str]) -> Iterator[dict[str, Any]]:
    """Every cell of some algorithms."""
    for algorithm in only:
        for module, state in product(modules_of(algorithm), STATES):
            yield cell(algorithm, module, state)


def keep(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a table, in place of those of the same cells."""
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    by_cell = {row["condition"]: row for row in (*known, *rows)}
    order = [f"{a}, {m}, {s}" for a in ALGORITHMS for m, s in product(modules_of(a), STATES)]
    lines = ",\n".join(f"    {json.dumps(by_cell[name])}" for name in order if name in by_cell)
    tasks = (CARTPOLE, RECALL, REACH)
    randomly = ", ".join(f"{task.name} {random_return(task):.2f}" for task in tasks)
    note = f"mean return of 20 greedy episodes, seed 0; random actions: {randomly}; one core of a shared machine"
    head = {"command": "python benchmarks/stock_algorithms.py", "note": note}
    text = "".join(f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    path.write_text("{\n" + text + f'  "rows": [\n{lines}\n  ]\n}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS), metavar="ALGORITHM")
    parser.add_argument("--table", type=Path, help="JSON file to keep the rows in; those of other cells stay")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    rows = []
    with own_ray(num_cpus=2):
        for row in cells(args.only):
            rows.append(row)
            told = row.get("reason") or f"{row['return']} on {row['task']} (mark {row['mark']}), {row['seconds']} s"
            print(f"{row['condition']}: {row['outcome']}: {told}", flush=True)
            if args.table:
                keep(args.table, rows)
    if any(row["outcome"] == "does not learn" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
