"""What the learner recomputes for a sequence is what the module computed step by step, for every part of a policy.

Legend: B environments, E environment steps. ``tests/integration/test_state_replay.py`` has it with RLlib around.
"""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.rl_modules.actor_critic import EPISODE_STARTS, STATE
from synrl_ray.settings.policies import SpikingPolicy

OBS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
OPTIONS = {"hidden_sizes": (8, 8, 6), "input_gain": 4.0, "hidden_gain": 3.0, "threshold": 0.5}
PARTS = {
    "synaptic": {"neuron": "synaptic", "carry_state": True},
    "adaptive": {"neuron": "adaptive", "carry_state": True},
    "highest membrane": {"readout": "max", "carry_state": True},
    "mean membrane": {"readout": "mean", "carry_state": True, "share_layers": True},
    "population": {"encoder": "population", "carry_state": True},
    "latency": {"encoder": "latency", "carry_state": True, "encoder_low": -1.0, "encoder_high": 1.0},
    "delta from rest": {"encoder": "delta"},
    "delta carried": {"encoder": "delta", "carry_state": True},
    "skip": {"skip": True, "carry_state": True},
    "plain critic": {"critic": "ann", "carry_state": True},
    "plain critic, delta": {"critic": "ann", "encoder": "delta"},
    "all": {"neuron": "adaptive", "readout": "mean", "encoder": "delta", "skip": True, "frame_stack": 2},
}


@pytest.mark.parametrize("name", PARTS)
@torch.no_grad()
def test_sequences_that_cross_an_episodes_start_are_replayed(name):
    torch.manual_seed(0)
    module = RLModuleSpec(
        module_class=ActorCriticModule,
        observation_space=OBS,
        action_space=ACTIONS,
        model_config=asdict(SpikingPolicy(**OPTIONS, **PARTS[name])),
    ).build()
    size = module.get_initial_state()[STATE].shape[0]
    obs = torch.rand(3, 8, 3) * 2 - 1
    starts = torch.zeros(3, 8, dtype=torch.bool)
    starts[0, 0], starts[1, 3], starts[2, 7] = True, True, True
    begun = module.network(torch.rand(5, 3, 3))[2]  # the first row begins an episode, others are in the middle of one
    state, inputs, values = begun, [], []
    for e in range(8):
        state = torch.where(starts[:, e, None], torch.zeros_like(state), state)
        step = {Columns.OBS: obs[:, e : e + 1], Columns.STATE_IN: {STATE: state}}
        outputs = module.forward_exploration(step)
        inputs.append(outputs[Columns.ACTION_DIST_INPUTS])
        values.append(module.compute_values(step))
        state = outputs[Columns.STATE_OUT][STATE]
        assert state.shape == (3, size)
    batch = {Columns.OBS: obs, Columns.STATE_IN: {STATE: begun}, EPISODE_STARTS: starts}
    replayed = module.forward_train(batch)
    torch.testing.assert_close(replayed[Columns.ACTION_DIST_INPUTS], torch.cat(inputs, 1), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(module.compute_values(batch), torch.cat(values, 1), rtol=1e-6, atol=1e-5)
    assert torch.cat(inputs, 1).std() > 1e-3
