"""``synrl train --env`` untuned, spiking and not, beside Stable-Baselines3's PPO with its own defaults.

Run:
    python benchmarks/any_environment.py --out rows.jsonl --table experiments/results/tables/any-environment.json

Each learner meets the same environments for the same number of steps, that of the defaults, and is judged on the same
episodes: greedy, and with actions drawn. Rows that are in ``--out`` are not run again, and several processes may add to
it (``--learners sb3`` needs the extra ``peers``, the others Ray). The environments on which the defaults were found are
others; docs/environments.md names them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from ablation import Rows, by_condition, interval_of, rows_parser, show
from numpy.typing import NDArray

from synrl_ray import make_experiment
from synrl_ray.envs.make import make_environment
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.experiment import Experiment
from synrl_ray.running.own_ray import own_ray

JUDGED = (
    *("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "CliffWalking-v1"),
    *("LunarLander-v3", "LunarLanderContinuous-v3", "BipedalWalker-v3"),
)
LEARNERS = ("spiking", "ann", "sb3")
_EPISODES = 50
_TOLD_APART = ("env", "learner", "settings")


def main() -> None:
    parser = rows_parser(__doc__, seeds=5)
    parser.add_argument("--environments", nargs="+", default=JUDGED)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=LEARNERS)
    parser.add_argument("--set", nargs="+", default=[], help="settings, as of `synrl train`", dest="settings")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with nullcontext() if options.learners == ["sb3"] else own_ray(num_cpus=1):
        for seed, env, learner in product(range(options.seeds), options.environments, options.learners):
            measure = partial(stable_baselines if learner == "sb3" else ours, env, learner, seed, options.settings)
            keys = {"env": env, "learner": learner, "seed": seed, "settings": " ".join(options.settings)}
            rows.append(row := Rows(options.out).get(keys, measure))
            print(*(f"{name}={value}" for name, value in row.items()), flush=True)
    show("Untuned", table(Rows(options.out).known or rows), options.table)


def ours(env: str, learner: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """Train by the defaults, in a folder that goes afterwards."""
    import synrl_ray

    place = tempfile.mkdtemp()
    try:
        protocol = [f"evaluation.episodes={_EPISODES}", "evaluation.interval_steps=1000000000"]
        trained = synrl_ray.train(
            env=env, policy=learner, seed=seed, settings=[*protocol, *settings], run_dir=f"{place}/run"
        )
    finally:
        shutil.rmtree(place)
    (training,), figures = trained.result.training, trained.result.figures
    scores = {"greedy": figures["return_mean"], "sampled": figures["sampled_return_mean"]}
    return {"env_steps": training.steps, "seconds": training.wall_seconds, **scores}


def stable_baselines(env: str, learner: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """Train Stable-Baselines3's PPO for as many steps, all its settings its own."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import set_random_seed

    torch.set_num_threads(1)
    experiment = make_experiment(env=env, settings=settings)
    assert isinstance(experiment, Experiment)
    make = partial(make_environment, env, experiment.environment.kwargs)
    model = PPO("MlpPolicy", make(), seed=seed, device="cpu")
    began = time.perf_counter()
    model.learn(experiment.stopping.env_steps)
    seconds = time.perf_counter() - began
    scores = {}
    for way in ("greedy", "sampled"):
        first = experiment.evaluation.first_seed
        set_random_seed(first)
        played = evaluate_policy(_Peer(model), make, episodes=_EPISODES, seed=first, deterministic=way == "greedy")
        scores[way] = float(np.mean(played.returns))
    return {"env_steps": model.num_timesteps, "seconds": round(seconds, 2), **scores}


class _Peer:
    """A model of Stable-Baselines3 as a policy on arrays."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def initial_state(self, batch: int, /) -> NDArray[Any]:
        """Nothing is carried on."""
        return np.zeros((batch, 0))

    def act(
        self, observations: NDArray[Any], state: NDArray[Any], /, *, deterministic: bool = True
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Actions within their bounds."""
        return self.model.predict(observations, deterministic=deterministic)[0], state


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each environment, learner and settings: means over seeds, with their intervals, every seed's score."""
    named = [{**row, "condition": " ".join(filter(None, (row[key] for key in _TOLD_APART)))} for row in rows]
    found = []
    for name, each in by_condition(named).items():
        each.sort(key=lambda row: row["seed"])
        found.append(
            {
                "condition": name,
                "seeds": len(each),
                "env_steps": round(np.mean([row["env_steps"] for row in each])),
                "seconds": float(np.median([row["seconds"] for row in each])),
                **{way: interval_of([row[way] for row in each]) for way in ("greedy", "sampled")},
                **{f"{way}_of_seeds": tuple(round(row[way], 2) for row in each) for way in ("greedy", "sampled")},
            }
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
