"""The state contract: what the learner recomputes for a stored fragment is what the rollout computed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.settings.policies import SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


class RecordingModule(ActorCriticModule):
    """Also hands out the value of every rollout step, which RLlib stores with the episode."""

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        outputs = super()._forward(batch, **kwargs)
        outputs[Columns.VF_PREDS] = self._run(batch)[1]
        return outputs


@pytest.mark.parametrize(
    "policy",
    [
        SpikingPolicy(hidden_sizes=(16, 16), carry_state=True, steps_per_observation=1, max_seq_len=8),
        SpikingPolicy(hidden_sizes=(16,), carry_state=True, steps_per_observation=3, max_seq_len=8, reset="zero"),
        SpikingPolicy(hidden_sizes=(16,), carry_state=True, share_layers=True, max_seq_len=5),
        SpikingPolicy(hidden_sizes=(16, 16), carry_state=False, steps_per_observation=4),
        SpikingPolicy(
            hidden_sizes=(16, 16, 8), neuron="adaptive", kappa=0.3, carry_state=True, max_seq_len=8, skip=True
        ),
        SpikingPolicy(hidden_sizes=(16,), neuron="synaptic", readout="max", encoder="latency", carry_state=True),
        SpikingPolicy(hidden_sizes=(16,), encoder="delta", encoder_threshold=0.05, readout="mean", max_seq_len=8),
    ],
    ids=[
        "carried",
        "carried-3-steps-zero-reset",
        "carried-shared",
        "from-rest",
        "carried-adaptive-skip",
        "carried-synaptic-latency-max",
        "from-rest-delta-mean",
    ],
)
def test_learner_recomputes_the_rollout(policy: SpikingPolicy) -> None:
    algorithm = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=3, rollout_fragment_length=40)
        .training(train_batch_size_per_learner=120, minibatch_size=120, num_epochs=1)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=RecordingModule, model_config=asdict(policy)))
        .debugging(seed=3)
        .build_algo()
    )
    try:
        learner = algorithm.learner_group._learner
        compared = 0
        for fragment in range(3):  # from the second on, fragments begin in mid-episode
            episodes = algorithm.env_runner.sample(num_timesteps=120)
            if fragment == 0:
                assert sum(episode.is_done for episode in episodes) >= 3, "no episode ends in mid-fragment"
            if fragment == 1 and policy.has_state:
                assert any(not np.allclose(_first_state(e), 0) for e in episodes), "no fragment begins in mid-episode"
            rollout_logp = np.concatenate([e.get_extra_model_outputs(Columns.ACTION_LOGP) for e in episodes])
            rollout_values = np.concatenate([e.get_extra_model_outputs(Columns.VF_PREDS) for e in episodes])

            batch = learner._learner_connector(
                rl_module=learner.module, batch={}, episodes=episodes, shared_data={}, metrics=learner.metrics
            )[DEFAULT_MODULE_ID]
            module = learner.module[DEFAULT_MODULE_ID]
            outputs = module.forward_train(batch)
            distribution = module.get_train_action_dist_cls().from_logits(outputs[Columns.ACTION_DIST_INPUTS])
            # Masked are padding and the extra step that RLlib appends to each episode for its bootstrap value.
            kept = batch[Columns.LOSS_MASK]
            logp = distribution.logp(batch[Columns.ACTIONS])[kept].detach().numpy()
            values = module.compute_values(batch)[kept].numpy()

            np.testing.assert_allclose(logp, rollout_logp, atol=1e-5)
            np.testing.assert_allclose(values, rollout_values, atol=1e-5)
            assert torch.equal(module.compute_values(batch), outputs[Columns.EMBEDDINGS])
            compared += len(logp)
        assert compared >= 360
    finally:
        algorithm.stop()


def _first_state(episode: Any) -> np.ndarray:
    """The state with which the fragment's first step was computed, 0 at an episode's start."""
    if episode.t_started == 0:
        return np.zeros(1)
    states = episode.get_extra_model_outputs(Columns.STATE_OUT)
    return np.asarray(next(iter(states.values()))[0])
