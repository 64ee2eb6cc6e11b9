"""Meta-training shared by Ray workers: the same figures for any number of them, also when one is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import ray
from ray.exceptions import RayActorError

from synrl_ray.experiment import AnnLearner, GridworldTasks, MamlRl, MetaExperiment, MetaRlTraining
from synrl_ray.meta.trainable import MetaTrainable
from synrl_ray.registry import get_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SINUSOIDS, GRIDWORLDS = get_experiment("sinusoid-maml"), get_experiment("gridworld-maml")
NAVIGATION = get_experiment("navigation-maml")
assert isinstance(SINUSOIDS, MetaExperiment)
assert isinstance(GRIDWORLDS, MetaExperiment)
assert isinstance(GRIDWORLDS.algorithm, MetaRlTraining)
assert isinstance(NAVIGATION, MetaExperiment)
PPO = MamlRl(episodes=5, outer="ppo", ppo_epochs=2)
EXPERIMENTS = {
    "sinusoids": replace(SINUSOIDS, ann=AnnLearner(hidden_sizes=(8,))),
    "gridworlds": replace(
        GRIDWORLDS,
        tasks=GridworldTasks(rows=4, columns=4, horizon=8),
        ann=AnnLearner(hidden_sizes=(8,)),
        algorithm=replace(GRIDWORLDS.algorithm, maml=PPO, meta_batch=6),
    ),
    "navigation": replace(
        NAVIGATION,
        tasks=replace(NAVIGATION.tasks, horizon=8),
        ann=AnnLearner(hidden_sizes=(8,)),
        algorithm=replace(GRIDWORLDS.algorithm, maml=replace(PPO, inner_lr=0.1), meta_batch=6),
    ),
}


def _losses(experiment: MetaExperiment, num_workers: int, *, kill: bool = False) -> tuple[list[float], int]:
    trainable = MetaTrainable({"experiment": experiment, "policy": "ann", "seed": 0, "num_workers": num_workers})
    trainable.iterations_per_step = 5
    losses = []
    for step in range(4):
        if kill and step == 2:
            worker = trainable.shards._workers[0]
            os.kill(ray.get(worker.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
            with pytest.raises(RayActorError):  # from now on, it is known to be dead
                ray.get(worker.__ray_call__.remote(lambda _: None))
        losses.append(trainable.step()["loss"])
    restarts = trainable.shards.restarts
    trainable.cleanup()
    return losses, restarts


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_any_number_of_workers_gives_the_same_curve_and_a_killed_one_is_replaced(experiment: MetaExperiment) -> None:
    alone, _ = _losses(experiment, 0)
    shared, restarts = _losses(experiment, 2)
    assert restarts == 0
    assert shared == pytest.approx(alone, rel=1e-5)
    after_a_death, restarts = _losses(experiment, 2, kill=True)
    assert restarts == 1
    assert after_a_death == pytest.approx(alone, rel=1e-5)
