"""Studies and trials for the tests."""

from dataclasses import replace

import numpy as np

from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec
from synrl_ray.tuning.space import draw, search_space
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trials import Trial


def make_study(*ranges, samples=4, **options):
    experiment = get_experiment("cartpole-ppo")
    space = search_space(experiment, "spiking", extra=ranges)
    experiment = replace(experiment, search_space=space)
    run = RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)
    return Study(run=run, samples=samples, **options)


def drawn(study):
    """Settings that a trial of the study may have."""
    return draw(study.run.experiment, study.space, np.random.default_rng(0))


def make_trial(index, *scores, state="finished", **settings):
    curve = [(1000 * (i + 1), score) for i, score in enumerate(scores)]
    return Trial(
        index=index,
        settings=settings or {"algorithm.lr": 1e-3},
        state=state,
        steps=1000 * len(scores),
        curve=curve,
        total=4000,
        score_name="greedy return",
    )
