"""What critics make of states that nobody has met: Acrobot without a goal, so that there is nothing to learn.

Run:
    python benchmarks/unvisited_states.py
    python benchmarks/unvisited_states.py --out rows.jsonl --table experiments/results/tables/unvisited-states.json

Each policy is trained by the defaults of ``synrl train --env`` for 20,000 steps, in which every reward is -1. Then the
critic is asked for the value of states that the policy visits (four episodes, actions drawn) and of states that it
never reaches: any angles, the first joint at more than 4 rad/s. A critic whose values are higher there is optimistic in
the face of what is unknown, and the actor goes where it has not been.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, rows_parser, show
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from numpy.typing import NDArray

import synrl_ray
from synrl_ray.policies.policy import Policy
from synrl_ray.running.own_ray import own_ray

CONDITIONS = {
    "spiking critic": ("spiking", ["spiking.critic=spiking"]),
    "spiking critic, firing_rate=0.2": ("spiking", ["spiking.critic=spiking", "spiking.firing_rate=0.2"]),
    "critic=ann": ("spiking", ["spiking.critic=ann"]),
    "the twin": ("ann", []),
}
_STEPS = 500


class AcrobotWithoutGoal(AcrobotEnv):
    """Gymnasium's Acrobot, whose tip is never high enough."""

    def _terminal(self) -> bool:
        return False


gym.register("AcrobotWithoutGoal-v0", AcrobotWithoutGoal, max_episode_steps=_STEPS)


def main() -> None:
    options = rows_parser(__doc__, seeds=5).parse_args()
    known, rows = Rows(options.out), []
    with own_ray(num_cpus=1):
        for seed in range(options.seeds):
            for name, (policy, settings) in CONDITIONS.items():
                keys = {"condition": name, "seed": seed}
                rows.append(row := known.get(keys, partial(measure, policy, settings, seed)))
                print(*(f"{key}={value}" for key, value in row.items()), flush=True)
    show("Values after 20,000 steps in which nothing could be learned", table(rows), options.table)


def measure(kind: str, settings: list[str], seed: int) -> dict[str, Any]:
    """Train one, and ask its critic."""
    place = tempfile.mkdtemp()
    try:
        short = ["env_steps=20000", "evaluation.episodes=2", "evaluation.interval_steps=1000000000", *settings]
        env = "unvisited_states:AcrobotWithoutGoal-v0"
        synrl_ray.train(env=env, policy=kind, seed=seed, settings=short, run_dir=f"{place}/run")
        policy: Any = synrl_ray.load_policy(f"{place}/run")
    finally:
        shutil.rmtree(place)
    met, unmet = values(policy, visited(policy)), values(policy, unvisited())
    return {"met": float(met.mean()), "unmet": float(unmet.mean()), "above": float((unmet > met.mean()).mean())}


def values(policy: Policy, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """In units of the normalised rewards."""
    with torch.no_grad():
        return policy.network.critic(torch.from_numpy(observations).unsqueeze(0)).flatten().numpy()


def visited(policy: Policy, episodes: int = 4) -> NDArray[np.float32]:
    """Observations of whole episodes."""
    torch.manual_seed(0)
    envs = gym.make_vec("AcrobotWithoutGoal-v0", episodes, vectorization_mode="sync")
    observations, _ = envs.reset(seed=0)
    state, met = policy.initial_state(episodes), []
    for _ in range(_STEPS - 1):
        actions, state = policy.act(observations, state, deterministic=False)
        observations, *_ = envs.step(actions)
        met.append(observations)
    return np.concatenate(met)


def unvisited(number: int = 2_000) -> NDArray[np.float32]:
    """Observations of states with random angles and speeds, the first joint's beyond what an untrained arm reaches."""
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-np.pi, np.pi, (2, number))
    speeds = rng.uniform(4, AcrobotEnv.MAX_VEL_1, number) * rng.choice((-1, 1), number)
    others = rng.uniform(-AcrobotEnv.MAX_VEL_2, AcrobotEnv.MAX_VEL_2, number)
    parts = (np.cos(first), np.sin(first), np.cos(second), np.sin(second), speeds, others)
    return np.stack(parts, axis=1).astype(np.float32)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition, means over seeds."""
    names = ("met", "unmet", "above")
    return [
        {"condition": name, "seeds": len(own), **{key: interval_of([row[key] for row in own]) for key in names}}
        for name, own in by_condition(rows).items()
    ]


if __name__ == "__main__":
    main()
