"""Evaluations per second of evolution with 0, 1 and 2 workers, what is sent for each, and what does not divide.

Run:
    python benchmarks/evolution.py cartpole-hebbian
    python benchmarks/evolution.py car-racing-hebbian --num-pairs 16 --generations 1
Reads: the generations are the same for any number of workers, so that rates compare. `driver` is the step that the
driver makes of the returns, for which it draws every perturbation once more.
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import replace

from synrl_ray.evolution.strategy import Strategy
from synrl_ray.evolution.workers import Generations
from synrl_ray.experiment import EvolutionExperiment, PolicyKind
from synrl_ray.registry import get_experiment
from synrl_ray.running.own_ray import own_ray


def measure(experiment: EvolutionExperiment, policy: PolicyKind, workers: int, generations: int) -> dict[str, float]:
    made = Generations(experiment, policy, 0, workers)
    layout = Generations(experiment, policy, 0, 0)._local.layout  # type: ignore[union-attr]
    strategy = Strategy(experiment.algorithm, layout.num_genes, 0)
    made.evaluate(strategy)  # starts processes, makes environments, compiles
    evaluating = driver = steps = 0.0
    for _ in range(generations):
        began = time.perf_counter()
        found = made.evaluate(strategy)
        between = time.perf_counter()
        strategy.update(found.returns)
        evaluating, driver = evaluating + between - began, driver + time.perf_counter() - between
        steps += found.env_steps
    made.close()
    answer = found._replace(returns=found.returns[: made._at_once].copy())
    individuals = 2 * experiment.algorithm.num_pairs * generations
    return {
        "workers": workers,
        "evaluations a second": individuals / evaluating,
        "environment steps a second": steps / evaluating,
        "steps of an evaluation": steps / individuals,
        "driver, ms a generation": 1e3 * driver / generations,
        "genes": layout.num_genes,
        "bytes of the genes": len(pickle.dumps(strategy.genes)),
        "bytes of an answer, for each evaluation": len(pickle.dumps(answer)) / (2 * len(answer.returns)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--policy", choices=("ann", "spiking"), default="ann")
    parser.add_argument("--num-pairs", type=int, help="of a generation; the experiment's by default")
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    experiment = get_experiment(args.experiment)
    assert isinstance(experiment, EvolutionExperiment)
    pairs = args.num_pairs or experiment.algorithm.num_pairs
    experiment = replace(experiment, algorithm=replace(experiment.algorithm, num_pairs=pairs))
    with own_ray(num_cpus=max(1, *args.workers)):
        for workers in args.workers:
            for name, value in measure(experiment, args.policy, workers, args.generations).items():
                print(f"{name:<42} {value:,.1f}")
            print()


if __name__ == "__main__":
    main()
