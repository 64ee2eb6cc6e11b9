"""What the learner does with a batch, without environments and without a Ray session."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.rmsprop import RMSpropTF
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import A2C, PPO, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.sampling.rollout import Rollout

STEPS, ENVS, LENGTH = 12, 5, 4
SPACES = (gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(2))


def learner_of(algorithm: PPO | A2C, kind: Any = "ann") -> Any:
    experiment = Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", num_envs=ENVS),
        spiking=SpikingPolicy(hidden_sizes=(6,), carry_state=True, steps_per_observation=1, max_seq_len=LENGTH),
        ann=AnnPolicy(hidden_sizes=(6,)),
        algorithm=algorithm,
        stopping=Stopping(env_steps=100),
    )
    config = algorithm_config(experiment, kind, seed=0, num_workers=0)
    learner = config.build_learner(spaces={DEFAULT_MODULE_ID: SPACES})
    learner.build()
    return learner


def network_of(learner: Any) -> torch.nn.Module:
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def batch_for(learner: Any) -> dict[str, Any]:
    """Random steps, one episode's end, numbered rows."""
    rng, shape = np.random.default_rng(0), (STEPS, ENVS)
    size = network_of(learner).network.state_size
    ended, valid = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
    ended[2, 0], valid[3, 0] = True, False
    rollout = Rollout(
        observations=rng.uniform(-1, 1, (*shape, 3)).astype(np.float32),
        actions=rng.integers(2, size=shape),
        inputs=np.zeros((*shape, 2), np.float32),
        logp=np.full(shape, np.log(0.5), np.float32),
        values=rng.normal(size=(STEPS + 1, ENVS)).astype(np.float32),
        rewards=rng.normal(size=shape).astype(np.float32),
        terminated=ended,
        truncated=np.zeros(shape, np.bool_),
        valid=valid,
        starts=np.zeros(shape, np.bool_),
        states=np.zeros((STEPS // LENGTH if size else 1, ENVS, size), np.float32),
    )
    batch = train_batch([rollout], gamma=0.9, gae_lambda=0.9, standardise=True)
    return {**batch, "row": torch.arange(len(batch["advantages"]))}


def update(learner: Any, batch: dict[str, Any], env_steps: int = 0, **settings: Any) -> None:
    learner.update(
        batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=STEPS * ENVS),
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps},
        **settings,
    )


def seen_by(learner: Any) -> list[dict[str, Any]]:
    seen, original = [], learner.compute_loss_for_module
    learner.compute_loss_for_module = lambda batch, **kwargs: seen.append(batch) or original(batch=batch, **kwargs)
    return seen


@pytest.mark.parametrize(
    ("kind", "minibatch_size", "rows", "rows_each"),
    [("ann", 16, STEPS * ENVS - 1, 16), ("spiking", 16, STEPS * ENVS // LENGTH, 4), ("spiking", 1, 15, 1)],
)
def test_minibatches_pass_over_every_row_exactly_once_in_each_epoch(kind, minibatch_size, rows, rows_each):
    learner = learner_of(PPO(), kind)
    batch, seen = batch_for(learner), seen_by(learner)
    update(learner, batch, num_epochs=3, minibatch_size=minibatch_size)
    per_epoch = round(rows / rows_each)
    assert len(batch["row"]) == rows
    assert len(seen) == 3 * per_epoch
    sizes = [len(part["row"]) for part in seen]
    assert max(sizes) - min(sizes) <= 1, "no small rest gets a step of its own"
    epochs = [torch.cat([part["row"] for part in seen[i : i + per_epoch]]) for i in range(0, len(seen), per_epoch)]
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(rows))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3, "a new order in each"
    for part in seen:
        for name in ("obs", "actions", "advantages", "value_targets", "action_logp"):
            assert torch.equal(part[name], batch[name][part["row"]]), name


def test_without_a_minibatch_size_the_whole_batch_is_one_step():
    learner = learner_of(A2C())
    seen = seen_by(learner)
    batch = batch_for(learner)
    update(learner, batch, num_epochs=1, minibatch_size=None)
    (part,) = seen
    assert sorted(part["row"].tolist()) == list(range(len(batch["row"])))


@pytest.mark.parametrize(("algorithm", "optimizer"), [(PPO(lr=0.1), torch.optim.Adam), (A2C(lr=0.1), RMSpropTF)])
def test_learning_rate_follows_the_steps_taken_down_to_zero(algorithm, optimizer):
    learner = learner_of(algorithm)
    (used,) = learner._named_optimizers.values()
    assert type(used) is optimizer
    assert used.param_groups[0]["lr"] == pytest.approx(0.1)
    for env_steps, expected in [(25, 0.075), (50, 0.05), (100, 0.0), (130, 0.0)]:
        update(learner, batch_for(learner), env_steps, num_epochs=1, minibatch_size=None)
        assert used.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-7)


def test_gradient_is_clipped_to_the_global_norm_of_the_setting():
    learner = learner_of(A2C(grad_clip=0.01, vf_loss_coeff=100.0))
    update(learner, batch_for(learner), num_epochs=1, minibatch_size=None)
    gradients = [parameter.grad for parameter in network_of(learner).parameters()]
    assert torch.cat([gradient.flatten() for gradient in gradients]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_steps_that_are_not_valid_do_not_move_the_weights():
    learners = [learner_of(PPO(), "spiking") for _ in range(2)]
    network_of(learners[1]).load_state_dict(network_of(learners[0]).state_dict())
    for learner, number in zip(learners, (1.0, 1000.0), strict=True):
        batch = batch_for(learner)
        for name in ("advantages", "value_targets"):
            batch[name][~batch["loss_mask"]] = number
        update(learner, batch, num_epochs=1, minibatch_size=None)
    for name, weight in network_of(learners[0]).state_dict().items():
        torch.testing.assert_close(weight, network_of(learners[1]).state_dict()[name])


def test_weights_stay_where_the_loss_is_not_finite():
    learner = learner_of(PPO())
    before = {name: weight.clone() for name, weight in network_of(learner).state_dict().items()}
    batch = batch_for(learner)
    batch["advantages"][3] = float("nan")
    with pytest.raises(NonFiniteError, match="batch 'advantages' is not finite"):
        update(learner, batch, num_epochs=1, minibatch_size=None)
    for name, weight in network_of(learner).state_dict().items():
        assert torch.equal(weight, before[name])
