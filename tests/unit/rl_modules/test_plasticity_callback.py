"""Steps of RLlib's own env runners, as the callback hands them to a module that learns."""

from types import SimpleNamespace

import numpy as np
from gymnasium import spaces
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.callbacks import PlasticityCallback
from synrl_ray.experiment import PlasticLayers, SpikingPolicy
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.checked import to_json


def test_observations_of_several_parts_are_flattened() -> None:
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32), "b": spaces.Discrete(3)})
    settings = to_json(SpikingPolicy(hidden_sizes=(8,), plastic=PlasticLayers(layers=(-1,))))
    module = RLModuleSpec(
        module_class=PlasticActorCritic,
        observation_space=space,
        action_space=spaces.Discrete(2),
        model_config=settings,
    ).build()
    seen = []
    module.learn_from = seen.append
    episode = SimpleNamespace(
        t=1,
        get_observations=lambda index: {"a": np.array([0.5, -0.5], np.float32), "b": 2},
        get_actions=lambda index: 1,
        get_rewards=lambda index: 1.0,
    )
    PlasticityCallback().on_episode_step(episode=episode, env_runner=None, rl_module=module, env_index=0)
    (transition,) = seen
    assert transition.observations.shape == (1, 5)
    assert transition.starts.tolist() == [True]
