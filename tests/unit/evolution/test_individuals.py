from dataclasses import replace

import numpy as np
import pytest

from synrl_ray.envs.checked import EnvironmentFailure
from synrl_ray.evolution.individuals import Individuals
from synrl_ray.evolution.strategy import Strategy, perturbation
from synrl_ray.evolution.workers import Generations
from synrl_ray.experiment import (
    AnnHebbian,
    Environment,
    EvolutionExperiment,
    EvolutionStopping,
    OpenAiEs,
    SpikingHebbian,
)
from synrl_ray.registry import get_experiment

BASE = EvolutionExperiment(
    id="small",
    summary="",
    environment=Environment(id="CartPole-v1", kwargs={"max_episode_steps": 100}, num_envs=8),
    ann=AnnHebbian(hidden_sizes=(4,)),
    spiking=SpikingHebbian(hidden_sizes=(4,)),
    algorithm=OpenAiEs(num_pairs=5, num_episodes=2),
    stopping=EvolutionStopping(env_steps=1_000),
)


def genes_of(individuals):
    return 0.1 * np.random.default_rng(0).normal(size=individuals.layout.num_genes).astype(np.float32)


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_scores_are_the_same_whatever_else_is_evaluated_with_them(policy):
    individuals = Individuals(BASE, policy, seed=3)
    genes = genes_of(individuals)
    whole = individuals.evaluate(genes, 0.5, 7, range(5))
    parts = [individuals.evaluate(genes, 0.5, 7, pairs) for pairs in ((3, 4), (0,), (1, 2))]
    assert (np.concatenate([parts[1].returns, parts[2].returns, parts[0].returns]) == whole.returns).all()
    assert whole.env_steps == sum(part.env_steps for part in parts)
    assert whole.episodes == 20
    assert len(np.unique(whole.returns)) > 2
    individuals.close()


def test_a_pair_is_the_genes_plus_and_minus_the_perturbation():
    individuals = Individuals(BASE, "ann", seed=3)
    genes = genes_of(individuals)
    moved = np.float32(0.2) * perturbation(3, 7, 4, len(genes))
    expected = [individuals.evaluate(genes + sign * moved, 0.0, 7, [0]).returns[0, 0].tolist() for sign in (1, -1)]
    assert individuals.evaluate(genes, 0.2, 7, [4]).returns[0].tolist() == expected


def test_each_generation_has_episodes_of_its_own_and_each_run_too():
    individuals = Individuals(BASE, "ann", seed=3)
    genes = genes_of(individuals)
    found = [individuals.evaluate(genes, 0.0, generation, [0]).returns[0, 0].tolist() for generation in range(6)]
    others = (Individuals(BASE, "ann", seed) for seed in range(4, 8))
    found += [other.evaluate(genes, 0.0, 0, [0]).returns[0, 0].tolist() for other in others]
    assert len(set(map(tuple, found))) > 5


def test_environments_that_are_stepped_together_change_nothing():
    alone = replace(BASE, environment=replace(BASE.environment, num_envs=1))
    for policy in ("ann", "spiking"):
        runs = [Generations(experiment, policy, 0, num_workers=0) for experiment in (BASE, alone)]
        assert len({run._at_once for run in runs}) == 2
        strategy = Strategy(BASE.algorithm, runs[0]._local.layout.num_genes, 0)
        first, second = (run.evaluate(strategy) for run in runs)
        assert (first.returns == second.returns).all()
        assert first[1:] == second[1:]


def test_pictures_are_convolved_by_each_individuals_own_filters():
    pytest.importorskip("Box2D")
    car = get_experiment("car-racing-hebbian")
    environment = replace(car.environment, kwargs={"max_episode_steps": 12})
    individuals = Individuals(replace(car, environment=environment), "ann", seed=0)
    genes = Strategy(car.algorithm, individuals.layout.num_genes, 0).genes
    together = individuals.evaluate(genes, 0.1, 0, [0, 1])
    assert (together.returns.shape, together.env_steps) == ((2, 2, 1), 12)
    assert (individuals.evaluate(genes, 0.1, 0, [1]).returns == together.returns[1]).all()
    individuals.close()


def test_an_environment_that_fails_is_named():
    failing = replace(BASE, environment=Environment(id="CartPole-v1", kwargs={"max_episode_steps": 40}))
    individuals = Individuals(failing, "ann", seed=0)
    genes = genes_of(individuals)
    individuals._envs(4).envs[1].env.step = lambda action: 1 / 0
    with pytest.raises(EnvironmentFailure, match="environment 'CartPole-v1' failed: step\\(\\) raised ZeroDivision"):
        individuals.evaluate(genes, 0.1, 0, [0])
