"""What decides `temporal-order`: its agent against controls that lack spike times, their order or the reward. No Ray.

Run (with the other ablations: ``make bench-ablations``):
    python benchmarks/temporal_order.py                                        # 10 seeds, minutes
    python benchmarks/temporal_order.py --conditions full --picture window.png # windows and weights that were learned
    python benchmarks/temporal_order.py --out rows.jsonl --table table.json    # goes on where it was stopped

All conditions share the settings of ``full`` but for what is named; :mod:`timing_controls` says what their rules see.
Since spike counts are equal in all trials, chance is 0.5 and the optimum 1, exactly. The score is the share of right
greedy choices in 1,600 trials that were not learned from, 800 of each order, the same for all. Steps to target are
trials up to the first evaluation, on 400 of them, with at least 0.95. Intervals are 95 % bootstrap intervals of the
mean over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, parser_of, show
from gymnasium.vector import SyncVectorEnv
from timing_controls import ConstantTag, EitherDirection, OrderKept, OrderReversed, SymmetricWindow

from synrl_ray.envs.temporal_order import TemporalOrderEnv
from synrl_ray.experiment import LocalExperiment, RStdp
from synrl_ray.policies.local.r_stdp.agent import RStdpAgent
from synrl_ray.registry import get_experiment

TEST_TRIALS, INTERIM_TRIALS = 1_600, 400
TARGET = 0.95
_TEST_SEED = 1_000_000


def conditions(full: RStdp) -> dict[str, tuple[type[RStdpAgent], RStdp]]:
    """Agent and settings of each."""
    return {
        "full": (RStdpAgent, full),
        "order_kept": (OrderKept, full),
        "constant_tag": (ConstantTag, full),
        "shuffled_spikes": (RStdpAgent, replace(full, shuffle_spikes=True)),
        "reversed_order": (OrderReversed, full),
        "symmetric_window": (SymmetricWindow, full),
        "either_direction": (EitherDirection, full),
        "raw_reward": (RStdpAgent, replace(full, modulator="reward")),
        "frozen": (RStdpAgent, replace(full, rule=replace(full.rule, lr=0.0))),
    }


def trials(kwargs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Observations ``[S, K, I]`` and their right actions ``[S]``, for a test: as many of each order, in turn."""
    env = TemporalOrderEnv(**kwargs | {"trials": 4 * TEST_TRIALS})
    drawn: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    observation, _ = env.reset(seed=_TEST_SEED)
    while min(map(len, drawn)) < TEST_TRIALS // 2:
        drawn[env.right_action].append(observation)
        observation, *_ = env.step(np.int64(0))
    pairs = zip(*drawn, strict=False)
    observations = [
        observation for pair, _ in zip(pairs, range(TEST_TRIALS // 2), strict=False) for observation in pair
    ]
    return np.stack(observations), np.tile([0, 1], TEST_TRIALS // 2)


def learn(agent: RStdpAgent, kwargs: dict[str, Any], *, seed: int, num_envs: int, env_steps: int) -> Iterator[int]:
    """Act and learn; how many trials there were, after each step of all environments."""
    envs = SyncVectorEnv([partial(TemporalOrderEnv, **kwargs)] * num_envs)
    generator = torch.Generator().manual_seed(seed)
    observations, _ = envs.reset(seed=[seed * 2**16 + n for n in range(num_envs)])
    starts, ended, steps = np.ones(num_envs, np.bool_), np.zeros(num_envs, np.bool_), 0
    while steps < env_steps:
        actions = agent.act(observations, starts, steps, generator)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        valid, starts = ~ended, ended  # an environment that has ended is reset by this step
        ended = terminated | truncated
        agent.learn(rewards, terminated, truncated, valid, observations)
        steps += int(valid.sum())
        yield steps


def run(
    make: type[RStdpAgent], settings: RStdp, experiment: LocalExperiment, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One row: a condition and a seed."""
    kwargs, interval = dict(experiment.environment.kwargs), experiment.evaluation.interval_steps
    env, (observations, right) = TemporalOrderEnv(**kwargs), trials(kwargs)
    agent = make(env.observation_space, env.action_space, settings, seed=seed)
    reached, following = None, interval
    sizes = {"num_envs": args.num_envs, "env_steps": args.env_steps or experiment.stopping.env_steps}
    for steps in learn(agent, kwargs, seed=seed, **sizes):
        if reached is None and steps >= following:
            following += interval
            seen, wanted = observations[:INTERIM_TRIALS], right[:INTERIM_TRIALS]
            if (agent.greedy(seen) == wanted).mean() >= TARGET:
                reached = steps
    share = float((agent.greedy(observations) == right).mean())
    return {"share": share, "steps_to_target": reached, "weights": agent.action_weights.tolist()}


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    table = []
    for name, own in by_condition(rows).items():
        shares = [row["share"] for row in own]
        missed = sum(row["steps_to_target"] is None for row in own)
        steps = [float(row["steps_to_target"] or row["env_steps"]) for row in own]
        table.append(
            {
                "condition": name,
                "seeds": len(own),
                "share": interval_of(shares),
                "worst": min(shares),
                "best": max(shares),
                "steps": None if missed == len(own) else interval_of(steps),
                "missed": missed,
                "at_end": sum(share >= TARGET for share in shares),
            }
        )
    return table


def draw(rows: list[dict[str, Any]], experiment: LocalExperiment, path: Path) -> None:
    """The window of the rule with the spikes of a trial, and the weights that ten seeds have learned."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    assert isinstance(experiment.algorithm, RStdp)
    rule, env = experiment.algorithm.rule.stdp, TemporalOrderEnv(**dict(experiment.environment.kwargs))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    lags = np.linspace(-40, 40, 801)
    window = np.where(
        lags >= 0, rule.a_plus * np.exp(-lags / rule.tau_plus), -rule.a_minus * np.exp(lags / rule.tau_minus)
    )
    left.plot(lags, window, color="black")
    half = env.delay / 2
    for lag, width, name in ((half, env.jitter, "first cue"), (0, 0, "go"), (-half, env.jitter, "second cue")):
        left.axvspan(lag - width - 0.5, lag + width + 0.5, alpha=0.3, color=f"C{round(lag / half) + 1}", label=name)
    left.set(xlabel="action's spike less input's spike, ms", ylabel="tag of the synapse", title="window of the rule")
    left.legend()
    weights = np.array([row["weights"] for row in rows if row["condition"] == "full"])
    for action, name in enumerate(("left", "right")):
        mean, low, high = (f(weights[:, :, action], axis=0) for f in (np.mean, np.min, np.max))
        right.plot(mean, color=f"C{3 * action}", label=f"to {name}")
        right.fill_between(np.arange(len(mean)), low, high, color=f"C{3 * action}", alpha=0.2)
    edges = np.cumsum([env.cue_inputs, env.cue_inputs, env.go_inputs, env.distractors])
    for edge, size, name in zip(edges, np.diff([0, *edges]), ("cue A", "cue B", "go", "other"), strict=True):
        right.axvline(edge - 0.5, color="grey", lw=0.5)
        right.text(edge - size / 2, 1.02, name, ha="center")
    right.set(xlabel="input", ylabel="weight", ylim=(-0.02, 1.1), title=f"mean and range of {len(weights)} seeds")
    right.legend(loc="lower left")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = parser_of(__doc__, num_envs=16)
    parser.add_argument("--picture", type=Path, help="of the rule's window and the weights of `full`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    experiment = get_experiment("temporal-order")
    assert isinstance(experiment, LocalExperiment)
    assert isinstance(experiment.algorithm, RStdp)
    known, rows = Rows(args.out), []
    env_steps = args.env_steps or experiment.stopping.env_steps
    for seed in range(args.seeds):  # seeds outside, so that all conditions have as many while it runs
        for name, (make, settings) in conditions(experiment.algorithm).items():
            if args.conditions and name not in args.conditions:
                continue
            keys = {"condition": name, "seed": seed, "num_envs": args.num_envs, "env_steps": env_steps}
            keys |= {"environment": dict(experiment.environment.kwargs), "settings": asdict(settings)}
            rows.append(row := known.get(keys, partial(run, make, settings, experiment, seed, args)))
            print(f"{name} seed {seed}: {row['share']:.3f}, target after {row['steps_to_target']} trials", flush=True)
    show(f"{args.num_envs} environments, {env_steps:,} trials", table_of(rows), args.table)
    if args.picture:
        draw(rows, experiment, args.picture)


if __name__ == "__main__":
    main()
