"""Every kind of learner on a pretended device and on the CPU, from the same seed: prints what their weights differ by.

Run in a process of its own: see :mod:`pretend_device`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pretend_device
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch import torch_learner

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.impala import algorithm as impala
from synrl_ray.api.specs import make_experiment
from synrl_ray.meta import sharding
from synrl_ray.meta.trainable import MetaTrainable
from synrl_ray.running.own_ray import own_ray
from synrl_ray.supervised import trainable as supervised

ON_CPU = torch_learner.get_device
SMALL = {"spiking.hidden_sizes": (16,), "environment.num_envs": 4}
ROLLOUTS = {**SMALL, "train_batch_size": 128, "minibatch_size": 64, "num_epochs": 2}
FEW = {**SMALL, "learning_starts": 60, "num_updates": 2, "train_interval": 32}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "calibrated, normalised, penalised": ("cartpole-ppo", {
        **ROLLOUTS, "spiking.normalise_observations": True, "spiking.firing_rate": 0.1, "rate_penalty": 0.01,
        "rate_target": 0.1,
    }),
    "carried": ("cartpole-ppo", {
        **ROLLOUTS, "spiking.carry_state": True, "spiking.max_seq_len": 16, "spiking.norm": "running",
    }),
    "continuous": ("pendulum-ppo", {**ROLLOUTS, "spiking.action_distribution": "squashed_gaussian"}),
    "plain": ("cartpole-a2c", {**SMALL, "num_steps": 4}),
    "v-trace": ("cartpole-impala", {**SMALL, "num_steps": 16}),
    "surrogate": ("cartpole-impala", {
        **SMALL, "num_steps": 16, "clip_param": 0.2, "num_epochs": 2, "minibatch_size": 32, "spiking.firing_rate": 0.2,
    }),
    "q-lambda": ("cartpole-pqn", {**SMALL, "spiking.carry_state": True, "minibatch_size": 64}),
    "dqn": ("cartpole-dqn", FEW),
    "sac": ("pendulum-sac", FEW),
}  # fmt: skip
IDS = {
    "cartpole-a2c": ("CartPole-v1", "a2c"),
    "cartpole-impala": ("CartPole-v1", "impala"),
    "cartpole-pqn": ("CartPole-v1", "pqn"),
    "pendulum-ppo": ("Pendulum-v1", "ppo"),
}


def algorithm(name: str, settings: Mapping[str, Any], gpus: int) -> Any:
    torch_learner.get_device = (lambda config, number: pretend_device.DEVICE) if gpus else ON_CPU
    env, chosen = IDS.get(name, (None, None))
    extra = {} if chosen is None else {"algorithm": chosen}
    experiment = make_experiment(None if env else name, {**extra, **settings}, env=env)
    config = algorithm_config(experiment, "spiking", seed=0, num_workers=0).learners(num_gpus_per_learner=gpus)
    impala._STEPS_PER_ROW = 100
    config.reporting(min_sample_timesteps_per_iteration=100, min_time_s_per_iteration=None)
    torch.manual_seed(0)
    made = config.build_algo()
    torch.manual_seed(1)
    made.train()
    return made


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return max(float(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max(initial=0)) for name in one)


def policies() -> Iterator[tuple[str, float]]:
    with own_ray(num_cpus=2):
        for name, (experiment, settings) in POLICIES.items():
            here, there = (algorithm(experiment, settings, gpus) for gpus in (0, 1))
            modules = [each.learner_group._learner.module[DEFAULT_MODULE_ID] for each in (here, there)]
            assert [next(m.parameters()).device.type for m in modules] == ["cpu", "pretend"]
            assert next(there.get_module().parameters()).is_cpu
            yield name, difference(*(each.learner_group.get_weights()[DEFAULT_MODULE_ID] for each in (here, there)))
            with tempfile.TemporaryDirectory() as folder:
                there.save_to_path(folder)
                for each in (here, there):  # a machine without a GPU goes on with what one with a GPU has left
                    each.restore_from_path(folder)
                    each.train()


def others() -> Iterator[tuple[str, float]]:
    for module in (sharding, supervised):
        module.learning_device = lambda gpus: pretend_device.DEVICE if gpus else torch.device("cpu")
    for name in ("sinusoid-maml", "gridworld-maml"):
        experiment = make_experiment(name, {"meta_batch": 2})
        trained = []
        for gpus in (0, 1):
            config = {"experiment": experiment, "policy": experiment.policies[0], "seed": 0, "gpus_per_learner": gpus}
            trained.append(MetaTrainable(config))
            trained[-1].iterations_per_step = 2
            trained[-1].step()
        assert [t.shards._local.device.type for t in trained] == ["cpu", "pretend"]
        yield name, difference(*(t.maml.state_dict() for t in trained))
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
    data = supervised.LabelledImages(images, np.arange(64) % 2)
    supervised.load_mnist = lambda classes: (data, data)
    config = {"experiment": make_experiment("mnist-binary", {"batch_size": 16}), "policy": "spiking", "seed": 0}
    here, there = (supervised.ClassifierTrainable({**config, "gpus_per_learner": gpus}) for gpus in (0, 1))
    for each in (here, there):
        each.optimizer.param_groups[0]["eps"] = 1e-3  # or rounding's sign would be a whole step
        each.step()
    assert [next(each._learns.parameters()).device.type for each in (here, there)] == ["cpu", "pretend"]
    assert next(there.model.parameters()).is_cpu
    yield "mnist-binary", difference(here.model.state_dict(), there.model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        there.save_checkpoint(folder)
        for each in (here, there):
            each.load_checkpoint(folder)
            each.step()


if __name__ == "__main__":
    found = {"policies": policies, "others": others}[sys.argv[1]]
    print(json.dumps(dict(found())))
