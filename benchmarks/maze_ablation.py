"""What each part of the maze agent is worth: ablations on ten mazes, every first cell, no sampling noise. No Ray.

Run:
    python benchmarks/maze_ablation.py                       # settings of maze-rstdp, minutes
    python benchmarks/maze_ablation.py --size 12 --env-steps 400000 --conditions full teacher
    python benchmarks/maze_ablation.py --moved-goal          # how fast a goal that has moved is found again
    python benchmarks/maze_ablation.py --out rows.jsonl --table table.json   # goes on where it was stopped

Seed n trains on the maze of seed n. With another ``--env-steps``, schedules are as much longer.
All conditions share the settings of ``full`` but for what is named; :mod:`timing_controls` says what the rules of
``order_kept``, ``reversed_order``, ``either_direction`` and ``constant_tag`` see. ``double_rate`` tells what learns
faster because of its spikes' times from what does because of larger tags. ``untrained`` is the agent as it begins,
``random`` takes each move with probability 1/4: its success is the exact probability to arrive within the time limit.
Success is the share of start cells from which the greedy policy arrives; the path ratio is its moves over those of the
shortest path. Steps to target are environment steps up to the first evaluation with a success rate of at least 0.95 and
a path ratio of at most 1.1; a seed that never gets there counts with all its steps, and is shown. Intervals are 95 %
bootstrap intervals of the mean over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, learn, parser_of, show
from timing_controls import ConstantTag, EitherDirection, OrderKept, OrderReversed

from synrl_ray.envs.maze import MazeEnv
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import exact_value
from synrl_ray.experiment import LocalExperiment, PathTarget, RStdp
from synrl_ray.kinds.local.exact import ExactJudge
from synrl_ray.policies.local.r_stdp.agent import RStdpAgent
from synrl_ray.registry import get_experiment


def conditions(full: RStdp, moved_goal: bool) -> dict[str, RStdp | None]:
    """Settings of each; ``None`` for no agent at all."""
    if moved_goal:
        return {
            "moved_goal": full,
            "moved_goal_no_forgetting": replace(full, forgetting_steps=None),
            "from_scratch": full,
        }
    return {
        "full": full,
        "teacher": replace(full, teach=True),
        "no_forgetting": replace(full, forgetting_steps=None),
        "no_trace": replace(full, eligibility=False),
        "running_mean": replace(full, modulator="reward_prediction"),
        "raw_reward": replace(full, modulator="reward"),
        "order_kept": full,
        "shuffled_spikes": replace(full, shuffle_spikes=True),
        "reversed_order": full,
        "either_direction": full,
        "constant_tag": full,
        "double_rate": replace(full, rule=replace(full.rule, lr=2 * full.rule.lr)),
        "stdp_off": replace(full, rule=replace(full.rule, lr=0.0)),
        "untrained": full,
        "random": None,
    }


AGENTS = {
    "order_kept": OrderKept,
    "reversed_order": OrderReversed,
    "either_direction": EitherDirection,
    "constant_tag": ConstantTag,
}
"""Conditions that are no settings."""


class Trial:
    """One maze."""

    def __init__(self, experiment: LocalExperiment, seed: int, args: argparse.Namespace) -> None:
        self.seed, self.args, self.experiment = seed, args, experiment
        self.env_steps = args.env_steps or experiment.stopping.env_steps
        self.kwargs = {**experiment.environment.kwargs, "maze_seed": seed}
        self.kwargs |= {} if args.size is None else {"size": args.size}
        self.kwargs |= {} if args.braid is None else {"braid": args.braid}
        assert isinstance(experiment.target, PathTarget)
        self.target = experiment.target

    def scaled(self, settings: RStdp) -> RStdp:
        """Settings with schedules for the run's length."""
        longer = self.env_steps / self.experiment.stopping.env_steps
        teacher = replace(settings.teacher, fade_steps=round(longer * settings.teacher.fade_steps))
        return replace(settings, noise_steps=round(longer * settings.noise_steps), teacher=teacher)

    def run(self, name: str, settings: RStdp | None) -> dict[str, Any]:
        """Success, path ratio, and steps to the target."""
        size = self.kwargs["size"]
        env = MazeEnv(**self.kwargs, **({"goal": (0, size - 1)} if self.args.moved_goal else {}))
        table = TransitionTable.from_env(env, name="the maze")
        if settings is None:
            arrival = replace(table, reward=table.terminated * 1.0)
            everywhere = np.full((table.num_states, table.num_actions), 1 / table.num_actions)
            return {"success_rate": exact_value(arrival, everywhere), "path_ratio": None, "steps_to_target": None}
        make = AGENTS.get(name, RStdpAgent)
        agent = make(
            env.observation_space, env.action_space, settings, teacher_actions=env.optimal_actions(), seed=self.seed
        )
        judge, reached = ExactJudge(table, env), None
        score = judge.score(agent)
        if name == "untrained":
            return {"success_rate": score.success_rate, "path_ratio": score.path_ratio, "steps_to_target": None}
        if name.startswith("moved_goal"):
            agent.load_state_dict(self.trained(settings).state_dict())
        for steps in self.learn(table, agent, self.seed + 1_000 * self.args.moved_goal):
            score = judge.score(agent)
            if reached is None and self.target.reached(asdict(score)):
                reached = steps
        return {"success_rate": score.success_rate, "path_ratio": score.path_ratio, "steps_to_target": reached}

    def trained(self, settings: RStdp) -> RStdpAgent:
        """An agent that knows the way to the first goal; nobody has taught it."""
        env = MazeEnv(**self.kwargs)
        agent = RStdpAgent(env.observation_space, env.action_space, replace(settings, teach=False), seed=self.seed)
        for _ in self.learn(TransitionTable.from_env(env, name="the maze"), agent, self.seed):
            pass
        return agent

    def learn(self, table: TransitionTable, agent: RStdpAgent, seed: int) -> Iterator[int]:
        """Environment steps, at each of the experiment's evaluations."""
        sizes = {"env_steps": self.env_steps, "interval": self.experiment.evaluation.interval_steps}
        return learn(table, agent, seed=seed, num_envs=self.args.num_envs, **sizes)


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    table = []
    for name, own in by_condition(rows).items():
        success = [row["success_rate"] for row in own]
        ratios = [row["path_ratio"] for row in own if row["path_ratio"] is not None]
        missed = sum(row["steps_to_target"] is None for row in own)
        steps = interval_of([float(row["steps_to_target"] or row["env_steps"]) for row in own])
        table.append(
            {
                "condition": name,
                "seeds": len(own),
                "success": interval_of(success),
                "worst": min(success),
                "path_ratio": interval_of(ratios) if ratios else None,
                "steps": steps if missed < len(own) else None,
                "missed": None if name == "random" else missed,
            }
        )
    return table


def main() -> None:
    parser = parser_of(__doc__, num_envs=16)
    parser.add_argument("--size", type=int, help="cells on a side, in place of the experiment's")
    parser.add_argument("--braid", type=float, help="share of dead ends that are opened, in place of the experiment's")
    parser.add_argument("--moved-goal", action="store_true", help="train, move the goal to the north-east, train again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    experiment = get_experiment("maze-rstdp")
    assert isinstance(experiment, LocalExperiment)
    assert isinstance(experiment.algorithm, RStdp)
    known, rows = Rows(args.out), []
    for seed in range(args.seeds):  # seeds outside, so that all conditions have as many while it runs
        trial = Trial(experiment, seed, args)
        for name, settings in conditions(trial.scaled(experiment.algorithm), args.moved_goal).items():
            if args.conditions and name not in args.conditions:
                continue
            keys = {"condition": name, "seed": seed, "num_envs": args.num_envs, "env_steps": trial.env_steps}
            keys |= {"maze": trial.kwargs, "settings": None if settings is None else asdict(settings)}
            rows.append(row := known.get(keys, partial(trial.run, name, settings)))
            print(
                f"{name} seed {seed}: success {row['success_rate']:.3f}, ratio {row['path_ratio']}, "
                f"target after {row['steps_to_target']} steps",
                flush=True,
            )
    maze = {name: value for name, value in trial.kwargs.items() if name != "maze_seed"}
    show(f"{maze}, {args.num_envs} environments, {trial.env_steps:,} steps", table_of(rows), args.table)


if __name__ == "__main__":
    main()
