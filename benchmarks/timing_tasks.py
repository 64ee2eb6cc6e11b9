"""What decides tasks of spike times: their agents against controls that lack times, their order or the reward. No Ray.

Run (with the other ablations: ``make bench-ablations``):
    python benchmarks/timing_tasks.py                                          # temporal-order, 10 seeds, minutes
    python benchmarks/timing_tasks.py --task time-to-first-spike               # or theta-track
    python benchmarks/timing_tasks.py --conditions full --picture window.png   # what was learned
    python benchmarks/timing_tasks.py --out rows.jsonl --table table.json      # goes on where it was stopped

All conditions share the settings of ``full`` but for what is named; :mod:`timing_controls` says what their rules see.
``no_leak`` has membranes that forget nothing: it decides by what has fired so far; ``no_precession`` has place cells
fire at any of a theta cycle's phases, whatever the direction, and the optimum is 0.5. Else, since spike counts are
equal in all trials, chance is 0.5 and the optimum 1, exactly. The score is the share of right greedy choices in 1,600
trials that were not learned from, 800 of each answer, the same for all. Steps to target are trials up to the first
evaluation, on 400 of them, with at least 0.95. Intervals are 95 % bootstrap intervals of the mean over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
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

from synrl_ray.envs.spike_trials import SpikeTrialsEnv
from synrl_ray.envs.temporal_order import TemporalOrderEnv
from synrl_ray.envs.theta_track import ThetaTrackEnv
from synrl_ray.envs.time_to_first_spike import TimeToFirstSpikeEnv
from synrl_ray.experiment import LocalExperiment, PairSTDP, RStdp
from synrl_ray.policies.local.r_stdp.agent import RStdpAgent
from synrl_ray.registry import get_experiment

TEST_TRIALS, INTERIM_TRIALS = 1_600, 400
TARGET = 0.95
_TEST_SEED = 1_000_000
TASKS: dict[str, Callable[..., SpikeTrialsEnv]] = {
    "temporal-order": TemporalOrderEnv,
    "time-to-first-spike": TimeToFirstSpikeEnv,
    "theta-track": ThetaTrackEnv,
}


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
        "no_leak": (RStdpAgent, replace(full, tau_mem=1e6)),
        "frozen": (RStdpAgent, replace(full, rule=replace(full.rule, lr=0.0))),
    }


CHANGED = {"theta-track": {"no_precession": {"precession": False}}}
"""Conditions that change a task's environment in place of the agent."""


def trials(make: Callable[..., SpikeTrialsEnv]) -> tuple[np.ndarray, np.ndarray]:
    """Observations ``[S, K, I]`` and their right actions ``[S]``, for a test: as many of each answer, in turn."""
    env = make(trials=4 * TEST_TRIALS)
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


def learn(
    agent: RStdpAgent, make: Callable[..., SpikeTrialsEnv], *, seed: int, num_envs: int, env_steps: int
) -> Iterator[int]:
    """Act and learn; how many trials there were, after each step of all environments."""
    envs = SyncVectorEnv([make] * num_envs)
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


def task_of(experiment: LocalExperiment) -> Callable[..., SpikeTrialsEnv]:
    """Makes its environment."""
    return partial(TASKS[experiment.id], **dict(experiment.environment.kwargs))


def run(
    make: type[RStdpAgent], settings: RStdp, experiment: LocalExperiment, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One row: a condition and a seed."""
    task, interval = task_of(experiment), experiment.evaluation.interval_steps
    env, (observations, right) = task(), trials(task)
    agent = make(env.observation_space, env.action_space, settings, seed=seed)
    reached, following = None, interval
    sizes = {"num_envs": args.num_envs, "env_steps": args.env_steps or experiment.stopping.env_steps}
    for steps in learn(agent, task, seed=seed, **sizes):
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
    """What decides a trial, and the weights that the seeds have learned."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    assert isinstance(experiment.algorithm, RStdp)
    env = task_of(experiment)()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    weights = np.array([row["weights"] for row in rows if row["condition"] == "full"])
    sizes: tuple[int, ...]
    if isinstance(env, ThetaTrackEnv):
        draw_cycles(left, env)
        names, answers = (*(f"{place + 1}" for place in range(env.places)), "go", "other"), ("the first", "the last")
        sizes = (*[env.cells] * env.places, env.go_inputs, env.distractors)
    elif isinstance(env, TemporalOrderEnv):
        draw_window(left, env, experiment.algorithm.rule.stdp)
        names, answers = ("cue A", "cue B", "go", "other"), ("left", "right")
        sizes = (env.cue_inputs, env.cue_inputs, env.go_inputs, env.distractors)
    else:
        assert isinstance(env, TimeToFirstSpikeEnv)
        draw_membranes(left, env, experiment.algorithm, weights.mean(axis=0))
        names, answers = ("bit A", "bit B", "go", "other"), ("equal", "different")
        sizes = (env.bit_inputs, env.bit_inputs, env.go_inputs, env.distractors)
    for action, name in enumerate(answers):
        mean, low, high = (f(weights[:, :, action], axis=0) for f in (np.mean, np.min, np.max))
        right.plot(mean, color=f"C{3 * action}", label=f"to {name}")
        right.fill_between(np.arange(len(mean)), low, high, color=f"C{3 * action}", alpha=0.2)
    for edge, size, name in zip(np.cumsum(sizes), sizes, names, strict=True):
        right.axvline(edge - 0.5, color="grey", lw=0.5)
        right.text(edge - size / 2, 1.02, name, ha="center")
    right.set(xlabel="input", ylabel="weight", ylim=(-0.02, 1.1), title=f"mean and range of {len(weights)} seeds")
    right.legend(loc="lower left")
    figure.savefig(path, dpi=120)


def draw_window(axes: Any, env: TemporalOrderEnv, rule: PairSTDP) -> None:
    """The window of the rule, and where in it the spikes of a trial lie."""
    lags = np.linspace(-40, 40, 801)
    window = np.where(
        lags >= 0, rule.a_plus * np.exp(-lags / rule.tau_plus), -rule.a_minus * np.exp(lags / rule.tau_minus)
    )
    axes.plot(lags, window, color="black")
    half = env.delay / 2
    for lag, width, name in ((half, env.jitter, "first cue"), (0, 0, "go"), (-half, env.jitter, "second cue")):
        axes.axvspan(lag - width - 0.5, lag + width + 0.5, alpha=0.3, color=f"C{round(lag / half) + 1}", label=name)
    axes.set(xlabel="action's spike less input's spike, ms", ylabel="tag of the synapse", title="window of the rule")
    axes.legend()


def draw_cycles(axes: Any, env: ThetaTrackEnv) -> None:
    """When the place cells fire in a theta cycle, in runs of either direction."""
    env.reset(seed=0)
    for answer, (name, marker) in enumerate((("towards the first place", "<"), ("towards the last place", ">"))):
        spikes = env.step(np.int64(0))[0]
        while env.right_action != answer:
            spikes = env.step(np.int64(0))[0]
        times = spikes[:, : env.places * env.cells].argmax(axis=0) - env.duration // 2
        places = 1 + np.arange(len(times)) // env.cells
        axes.plot(times, places, marker, color=f"C{3 * answer}", markersize=4, label=name)
    axes.axvline(0, color="black", lw=0.8, label="go signal")
    axes.set(xlabel="time to the go signal, ms", ylabel="place", title="a theta cycle")
    axes.legend(loc="upper center", fontsize=8)


def draw_membranes(axes: Any, env: TimeToFirstSpikeEnv, settings: RStdp, weights: np.ndarray) -> None:
    """Membranes of the neuron that says equal, in a trial of either answer; nothing resets it here."""
    env.reset(seed=0)
    for answer, (name, style) in enumerate((("equal bits", "-"), ("different bits", "--"))):
        spikes = env.step(np.int64(0))[0]
        while env.right_action != answer:
            spikes = env.step(np.int64(0))[0]
        membrane, potentials = 0.0, []
        for current in spikes @ weights[:, 0]:
            membrane = float(np.exp(-settings.dt / settings.tau_mem)) * membrane + float(current)
            potentials.append(membrane)
        go = int(spikes[:, 2 * env.bit_inputs].argmax())
        axes.plot(np.arange(len(potentials)) - go, potentials, style, color="C0", label=name)
    axes.axhline(settings.threshold, color="black", lw=0.8, label="threshold")
    axes.set(xlabel="time to the go signal, ms", ylabel="membrane", title="the neuron that says equal")
    axes.legend(loc="upper left")


def main() -> None:
    parser = parser_of(__doc__, num_envs=16)
    parser.add_argument("--task", choices=TASKS, default="temporal-order")
    parser.add_argument("--picture", type=Path, help="of what decides a trial, and the weights of `full`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    experiment = get_experiment(args.task)
    assert isinstance(experiment, LocalExperiment)
    assert isinstance(experiment.algorithm, RStdp)
    changed = CHANGED.get(experiment.id, {})
    every = {name: (*condition, experiment) for name, condition in conditions(experiment.algorithm).items()}
    for name, kwargs in changed.items():
        environment = replace(experiment.environment, kwargs={**experiment.environment.kwargs, **kwargs})
        every[name] = (RStdpAgent, experiment.algorithm, replace(experiment, environment=environment))
    known, rows = Rows(args.out), []
    env_steps = args.env_steps or experiment.stopping.env_steps
    for seed in range(args.seeds):  # seeds outside, so that all conditions have as many while it runs
        for name, (make, settings, task) in every.items():
            if args.conditions and name not in args.conditions:
                continue
            keys = {"condition": name, "seed": seed, "num_envs": args.num_envs, "env_steps": env_steps}
            keys |= {"environment": dict(task.environment.kwargs), "settings": asdict(settings)}
            rows.append(row := known.get(keys, partial(run, make, settings, task, seed, args)))
            print(f"{name} seed {seed}: {row['share']:.3f}, target after {row['steps_to_target']} trials", flush=True)
    show(f"{args.num_envs} environments, {env_steps:,} trials", table_of(rows), args.table)
    if args.picture:
        draw(rows, experiment, args.picture)


if __name__ == "__main__":
    main()
