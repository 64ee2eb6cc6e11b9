"""Two agents by RLlib's multi-agent API, each with a spiking module of its own, or with one for both.

A random policy earns half of what can be earned; without a state the agent that has to recall its cue earns 3.5 of 6.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from two_agents import STEPS, TwoCues

from synrl_ray.rl_modules import ActorCriticModule, SpikingCatalog
from synrl_ray.settings.policies import SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL: dict[str, Any] = {"hidden_sizes": (32,), "steps_per_observation": 2, "input_gain": 3.0, "max_seq_len": STEPS}
REST, CARRIED = SpikingPolicy(**SMALL), SpikingPolicy(carry_state=True, **SMALL)
OWN = {"sees": REST, "recalls": CARRIED}


def spec_of(policy: SpikingPolicy, *, by_catalog: bool = False) -> RLModuleSpec:
    if by_catalog:
        return RLModuleSpec(catalog_class=SpikingCatalog, model_config=asdict(policy))
    return RLModuleSpec(module_class=ActorCriticModule, model_config=asdict(policy))


@pytest.mark.parametrize("by_catalog", [False, True], ids=["module", "catalog"])
@pytest.mark.parametrize("policies", [OWN, {"both": CARRIED}], ids=["one-each", "shared"])
def test_each_agent_learns_its_task(policies: dict[str, SpikingPolicy], by_catalog: bool) -> None:
    specs = {name: spec_of(policy, by_catalog=by_catalog) for name, policy in policies.items()}
    algorithm = (
        PPOConfig()
        .environment(TwoCues)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1)
        .multi_agent(
            policies=set(policies),
            policy_mapping_fn=lambda agent, episode, **kwargs: agent if agent in policies else "both",
        )
        .training(
            lr=1e-2, gamma=0.5, train_batch_size_per_learner=384, minibatch_size=128, num_epochs=6, use_kl_loss=False
        )
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=specs))
        .debugging(seed=0)
        .build_algo()
    )
    try:
        assert set(algorithm.learner_group._learner.module.keys()) == set(policies)
        for _ in range(12):
            found = algorithm.train()["env_runners"]["agent_episode_returns_mean"]
            if min(found.values()) > 0.9 * STEPS:
                break
    finally:
        algorithm.stop()
    assert min(found.values()) > 0.85 * STEPS, found
    assert np.isfinite(list(found.values())).all()
