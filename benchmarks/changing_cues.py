"""What a plastic layer beside gradients is worth where the right answers change again and again. Minutes.

Run (with the other ablations: ``make bench-ablations``):
    python benchmarks/changing_cues.py                              # all conditions, 5 seeds
    python benchmarks/changing_cues.py --search --seeds 2           # settings of PPO alone, and of the rule
    python benchmarks/changing_cues.py --out rows.jsonl --table table.json --picture curves.png

``changing-cues``, 67,072 trials in 8 environments, whose answers change together after every 400 trials of each; chance
is 0.25, the best is 1. The share of right answers is that of all trials but those with the first answers, while
actions are drawn and all goes on learning; ``first`` is that of the first 50 trials after a change in each
environment, ``last`` of the last 50 before one.

    plastic            the experiment: the readout's weights learn by reward-modulated STDP, all others by PPO
    frozen             the readout's weights stay as they were made, and PPO learns the others
    reward_of_another  the rule is given the rewards of the next environment
    without            PPO learns all weights, with what suits it best of --search
    ann                its non-spiking twin
    plastic_still, without_still   with answers that never change
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from ablation import Rows, by_condition, interval_of, rows_parser, show

from synrl_ray.envs.changing_cues import ChangingCuesEnv
from synrl_ray.experiment import Experiment, PolicyKind
from synrl_ray.kinds.control.trainer import ControlTrainer
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.rl_modules.plastic import Transition
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.running.own_ray import own_ray
from synrl_ray.running.spec import RunSpec

EDGE, FIRST_SEARCH_SEED = 50, 100
ALONE = ("spiking.plastic=null",)
STILL = ('kwargs={"period": 1000000}',)
CONDITIONS: dict[str, tuple[PolicyKind, tuple[str, ...]]] = {
    "plastic": ("spiking", ()),
    "frozen": ("spiking", ("plastic.rule.lr=0",)),
    "reward_of_another": ("spiking", ()),
    "without": ("spiking", ALONE),
    "ann": ("ann", ()),
    "plastic_still": ("spiking", STILL),
    "without_still": ("spiking", (*ALONE, *STILL)),
}


def searched() -> dict[str, tuple[PolicyKind, tuple[str, ...]]]:
    """The grids of --search, as conditions."""
    found: dict[str, tuple[PolicyKind, tuple[str, ...]]] = {}
    for lr, batch, epochs in product((1e-3, 3e-3, 1e-2), (128, 256, 1024), (4, 8)):
        settings = (f"algorithm.lr={lr}", f"train_batch_size={batch}", f"minibatch_size={batch // 2}")
        more = (f"num_epochs={epochs}", "entropy_coeff=0")
        found[f"without {lr} {batch} {epochs}"] = "spiking", (*ALONE, *settings, *more)
    for lr, entropy in product((1e-3, 3e-3, 1e-2), (0.03, 0.1, 0.3)):
        settings = (f"algorithm.lr={lr}", "train_batch_size=128", "minibatch_size=64", f"entropy_coeff={entropy}")
        found[f"without {lr} 128 4 entropy {entropy}"] = "spiking", (*ALONE, *settings)
    return found | {f"plastic {lr}": ("spiking", (f"plastic.rule.lr={lr}",)) for lr in (0.3, 1.0, 3.0, 10.0)}


@contextlib.contextmanager
def answered(of_another: bool) -> Iterator[list[tuple[int, bool]]]:
    """How many trials lie between each answer and the last change, and whether it was right, as they are given."""
    given: list[tuple[int, bool]] = []
    step, learn_from = ChangingCuesEnv.step, PlasticActorCritic.learn_from

    def noted(env: ChangingCuesEnv, action: np.int64) -> Any:
        trial = env.episode % env.period * env.trials + env.trials - env.left
        if env.episode >= env.period or env.period > 10**5:
            given.append((trial, bool(action == env.answers[env.cue])))
        return step(env, action)

    def shifted(module: PlasticActorCritic, transition: Transition) -> None:
        learn_from(module, replace(transition, rewards=np.roll(transition.rewards, 1)))

    ChangingCuesEnv.step = noted  # type: ignore[method-assign]
    if of_another:
        PlasticActorCritic.learn_from = shifted  # type: ignore[method-assign,assignment]
    try:
        yield given
    finally:
        ChangingCuesEnv.step, PlasticActorCritic.learn_from = step, learn_from  # type: ignore[method-assign]


def run(name: str, policy: PolicyKind, settings: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One row: a condition and a seed."""
    experiment = apply_overrides(get_experiment("changing-cues"), settings)
    assert isinstance(experiment, Experiment)
    with answered(name == "reward_of_another") as given:
        trainer = ControlTrainer(RunSpec(experiment=experiment, policy=policy, seed=seed, num_workers=0))
        try:
            while trainer.train_once().steps < experiment.stopping.env_steps:
                pass
        finally:
            trainer.close()
    trials, right = (np.array(column) for column in zip(*given, strict=True))
    period = int(trials.max()) + 1
    curve = [float(right[trials == trial].mean()) for trial in range(period)] if "still" not in name else []
    first, last = (float(right[part].mean()) for part in (trials < EDGE, trials >= period - EDGE))
    return {"share": float(right.mean()), "first": first, "last": last, "curve": curve}


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    return [
        {
            "condition": name,
            "seeds": len(own),
            **{figure: interval_of([row[figure] for row in own]) for figure in ("share", "first", "last")},
            "worst": min(row["share"] for row in own),
            "best": max(row["share"] for row in own),
        }
        for name, own in by_condition(rows).items()
    ]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Share of right answers after a change; mean and range of the seeds."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    smooth = np.ones(10) / 10
    for name, own in by_condition(rows).items():
        curves = np.array([np.convolve(row["curve"], smooth, "valid") for row in own if row["curve"]])
        if len(curves):
            trials = np.arange(curves.shape[1]) + len(smooth) / 2
            (line,) = axes.plot(trials, curves.mean(axis=0), label=name.replace("_", " "))
            axes.fill_between(trials, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.2)
    axes.axhline(0.25, color="grey", linestyle=":", label="chance")
    axes.set(xlabel="trials of an environment since the answers changed", ylabel="share of right answers", ylim=(0, 1))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = rows_parser(__doc__, seeds=5)
    parser.add_argument("--conditions", nargs="+", help="some of them; all by default")
    parser.add_argument("--search", action="store_true", help="settings of PPO alone and of the rule, on other seeds")
    parser.add_argument("--picture", type=Path, help="of the share of right answers after a change")
    args: argparse.Namespace = parser.parse_args()
    conditions = searched() if args.search else CONDITIONS
    known, rows = Rows(args.out), []
    first = FIRST_SEARCH_SEED if args.search else 0
    with own_ray(num_cpus=1):
        for seed in range(first, first + args.seeds):  # seeds outside: all conditions have as many while it runs
            for name, (policy, settings) in conditions.items():
                if args.conditions and name not in args.conditions:
                    continue
                keys = {"condition": name, "seed": seed, "policy": policy, "settings": list(settings)}
                rows.append(row := known.get(keys, partial(run, name, policy, settings, seed)))
                print(f"{name} seed {seed}: {row['share']:.3f} ({row['first']:.3f}, {row['last']:.3f})", flush=True)
    show("changing-cues: share of right answers", table_of(rows), args.table)
    if args.picture:
        draw(rows, args.picture)


if __name__ == "__main__":
    main()
