"""Surrogates with compact support beside the wide ones: do networks learn as well, and how much of them takes part?

Run:
    python benchmarks/surrogates.py cartpole                # cartpole-ppo, until 475 or 100,000 steps, a minute a seed
    python benchmarks/surrogates.py mnist                   # mnist-binary on all ten digits, three epochs
    python benchmarks/surrogates.py breakout --seeds 1      # breakout-a2c, 300,000 decisions, about eight minutes a run
    python benchmarks/surrogates.py cartpole --out rows.jsonl --table table.json   # goes on where it was stopped

Each is the experiment with these settings and nothing tuned. A surrogate's name is followed by its slope ``k``;
derivatives of ``triangle`` and ``box`` are zero where a membrane is ``1/k`` or more from its threshold. Other settings
make networks fire less: ``rate_penalty`` is always that of rates above 4 %.

CartPole ends at the first greedy evaluation (20 episodes) with a mean of 475 or more, or after 100,000 environment
steps, and is then judged by 100 greedy and 100 drawn episodes. MNIST has the accuracy on held-out training images after
each epoch and that on the test set at the end. Breakout has the mean return of the training episodes that ended in the
10,000 decisions before 100,000, 200,000 and 300,000; its schedules are those of the whole experiment.

Then the trained network, its critic too where it spikes, sees 1,000 observations (of drawn episodes; the first images
of the test set), and of each spiking layer are counted, as shares of all neurons in all simulation steps: ``firing``,
those that fire; ``live``, those whose surrogate derivative is not zero, which is what a backward pass that leaves zeros
out has to look at; and ``live neurons``, those that are live in at least one of an observation's simulation steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation import Rows, by_condition, interval_of, rows_parser, show

import synrl_ray
from synrl_ray.data.mnist import load_mnist
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.kinds.acting import factory_of
from synrl_ray.policies.recording import ObservationRecorder
from synrl_ray.policies.sampled import SampledPolicy
from synrl_ray.running.own_ray import own_ray
from synrl_ray.running.progress import ignore
from synrl_ray.settings.environment import Environment
from synrl_ray.snn import LIF
from synrl_ray.supervised.files import load_classifier

_SEEN = 1_000
_MARKS, _WINDOW = (100_000, 200_000, 300_000), 10_000
Settings = dict[str, Any]


def _with(name: str, slope: float) -> Settings:
    return {"spiking.surrogate": name, "spiking.surrogate_slope": slope}


_COMPACT = {
    f"{name} {slope:g}": _with(name, slope)
    for name, slopes in {"triangle": (1.0, 2.0, 4.0), "box": (2.0, 4.0)}.items()
    for slope in slopes
}
_FIRST = {"spiking.firing_rate": 0.04}
_UNITS = {"environment.normalise_rewards": True}


def _sparse(penalty: float) -> Settings:
    return {"algorithm.rate_penalty": penalty, "algorithm.rate_target": 0.04}


CONDITIONS: dict[str, dict[str, Settings]] = {
    "cartpole": {
        "fast_sigmoid 25 (default)": {},
        **_COMPACT,
        "firing_rate=0.04": _FIRST,
        "normalise_rewards": _UNITS,
        "firing_rate=0.04, normalise_rewards": _FIRST | _UNITS,
        "rate_penalty=10": _sparse(10),
        "rate_penalty=10, normalise_rewards": _sparse(10) | _UNITS,
        "rate_penalty=10, normalise_rewards, triangle 1": _sparse(10) | _UNITS | _with("triangle", 1.0),
        "rate_penalty=10, normalise_rewards, triangle 4": _sparse(10) | _UNITS | _with("triangle", 4.0),
        "rate_penalty=10, normalise_rewards, box 4": _sparse(10) | _UNITS | _with("box", 4.0),
    },
    "mnist": {
        "fast_sigmoid 25 (default)": {},
        **_COMPACT,
        "threshold=4": {"spiking.threshold": 4.0},
        "rate_penalty=10": _sparse(10),
        "rate_penalty=100": _sparse(100),
        "rate_penalty=100, triangle 1": _sparse(100) | _with("triangle", 1.0),
        "rate_penalty=100, triangle 4": _sparse(100) | _with("triangle", 4.0),
        "rate_penalty=100, box 4": _sparse(100) | _with("box", 4.0),
    },
    "breakout": {
        "atan 2 (default)": {},
        "triangle 1": _with("triangle", 1.0),
        "triangle 4": _with("triangle", 4.0),
        "firing_rate=0.04": _FIRST,
        "firing_rate=0.04, triangle 4": _FIRST | _with("triangle", 4.0),
        "firing_rate=0.04, rate_penalty=10, triangle 4": _FIRST | _sparse(10) | _with("triangle", 4.0),
    },
}


def cartpole(settings: Settings, seed: int) -> dict[str, Any]:
    """What one seed comes to."""
    with tempfile.TemporaryDirectory() as folder:
        trained = _train("cartpole-ppo", {"stopping.mean_return": 475.0} | settings, seed, folder)
        metrics, result = trained.metrics(), trained.result
        activity = _of_policy(Path(folder) / "run", trained.outcome.spec.experiment.environment)
    steps = next((row["env_steps"] for row in metrics if (row.get("evaluation_return_mean") or 0.0) >= 475), None)
    returns = {"greedy": result.figure("return_mean"), "sampled": result.figures["sampled_return_mean"]}
    return {"steps": steps, **returns, **activity}


def mnist(settings: Settings, seed: int) -> dict[str, Any]:
    """What one seed comes to."""
    with tempfile.TemporaryDirectory() as folder:
        trained = _train("mnist-binary", {"data.digits": "all", "stopping.epochs": 3} | settings, seed, folder)
        model = load_classifier(Path(folder) / "run")
        activity = _activity(model, partial(model, load_mnist(model.classes)[1].images[:_SEEN]))
        epochs = [row["evaluation_accuracy"] for row in trained.metrics()]
    return {"epochs": epochs, "accuracy": trained.result.figure("accuracy"), **activity}


def breakout(settings: Settings, seed: int) -> dict[str, Any]:
    """What one seed comes to."""
    short = {
        "stopping.env_steps": _MARKS[-1],
        "stopping.schedule_steps": 10_000_000,
        "evaluation.interval_steps": 1_000_000_000,
        "evaluation.episodes": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        trained = _train("breakout-a2c", short | settings, seed, folder)
        activity = _of_policy(Path(folder) / "run", trained.outcome.spec.experiment.environment)
        found = [(row["env_steps"], row["return_mean"]) for row in trained.metrics() if row["return_mean"] is not None]
    before = [[value for steps, value in found if mark - _WINDOW <= steps <= mark + 2_000] for mark in _MARKS]
    return {"returns": [float(np.mean(values)) if values else None for values in before], **activity}


TASKS: dict[str, Callable[[Settings, int], dict[str, Any]]] = {
    "cartpole": cartpole,
    "mnist": mnist,
    "breakout": breakout,
}


def _train(experiment: str, settings: Settings, seed: int, folder: str) -> Any:
    place = Path(folder) / "run"
    return synrl_ray.train(experiment, settings=settings, seed=seed, run_dir=place, watch=ignore)


def _of_policy(folder: Path, environment: Environment) -> dict[str, list[float]]:
    """Of what a policy meets when it draws its actions."""
    policy: Any = synrl_ray.load_policy(folder)
    sampled: Any = SampledPolicy(policy, 0)
    recorder = ObservationRecorder(sampled, _SEEN)
    evaluate_policy(recorder, factory_of(environment), episodes=4, seed=0, deterministic=False)
    seen = torch.from_numpy(recorder.observations).unsqueeze(0), torch.from_numpy(recorder.states)
    return _activity(policy.network, partial(policy.network, *seen))


@torch.no_grad()
def _activity(network: torch.nn.Module, run: Callable[[], Any]) -> dict[str, list[float]]:
    """What each spiking layer does in a pass over one observation of each row."""
    found: dict[str, list[float]] = {"firing": [], "live": [], "live_neurons": []}

    def watch(neuron: LIF, given: tuple[Any, ...]) -> None:
        spikes, membranes = neuron.scan(*given)
        live = neuron.surrogate.derivative(membranes - neuron.threshold) != 0
        found["firing"].append(spikes.mean().item())
        found["live"].append(live.float().mean().item())
        found["live_neurons"].append(live.any(0).float().mean().item())

    handles = [
        module.register_forward_pre_hook(watch)
        for name, module in network.named_modules()
        if isinstance(module, LIF) and "neurons." in name
    ]
    run()
    for handle in handles:
        handle.remove()
    return found


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of each condition."""
    return [
        {"condition": name, "seeds": len(own), **_figures(own)}
        | {key: _percent(own, key) for key in ("firing", "live", "live_neurons")}
        for name, own in by_condition(rows).items()
    ]


def _figures(own: list[dict[str, Any]]) -> dict[str, Any]:
    if "epochs" in own[0]:
        columns = zip(*(row["epochs"] for row in own), strict=True)
        epochs = {f"epoch {number}": interval_of(list(values)) for number, values in enumerate(columns, start=1)}
        return {**epochs, "test": interval_of([row["accuracy"] for row in own])}
    if "returns" in own[0]:
        return {f"return at {mark:,}": tuple(row["returns"][i] for row in own) for i, mark in enumerate(_MARKS)}
    return {
        "reached": sum(row["steps"] is not None for row in own),
        "steps": tuple(sorted(row["steps"] or 0 for row in own)),
        "greedy": interval_of([row["greedy"] for row in own]),
        "sampled": interval_of([row["sampled"] for row in own]),
    }


def _percent(own: list[dict[str, Any]], key: str) -> str:
    """Of each layer, the actor's first; means over seeds."""
    return ", ".join(f"{100 * share:.1f}" for share in np.mean([row[key] for row in own], axis=0)) + " %"


def main() -> None:
    parser = rows_parser(__doc__, seeds=3)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--conditions", nargs="+", help="some of them; all by default")
    args = parser.parse_args()
    known, rows = Rows(args.out), []
    with own_ray(num_cpus=1):
        for seed in range(args.seeds):
            for name, settings in CONDITIONS[args.task].items():
                if args.conditions and name not in args.conditions:
                    continue
                keys = {"task": args.task, "condition": name, "seed": seed, "settings": settings}
                rows.append(row := known.get(keys, partial(TASKS[args.task], settings, seed)))
                print(f"{name} seed {seed}: {row}", flush=True)
    show(f"{args.task} with these surrogates", table_of(rows), args.table)


if __name__ == "__main__":
    main()
