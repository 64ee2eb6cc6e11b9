"""PQN: targets and loss against direct computations, exploration by its schedule, what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.algorithms.build import algorithm_config, check_algorithm
from synrl_ray.algorithms.on_policy.train_batch import arranged, num_valid, train_batch
from synrl_ray.algorithms.pqn.config import PQNConfig
from synrl_ray.algorithms.pqn.learner import q_loss
from synrl_ray.api.specs import make_experiment
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import PQN, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.policies.actor_critic import ActorCritic

STEPS, ENVS = 40, 4
SHARED: dict[str, Any] = {"hidden_sizes": (8, 8), "share_layers": True, "norm": "layer"}
POLICIES = {
    "rows": AnnPolicy(**SHARED),
    "from rest": SpikingPolicy(**SHARED),
    "carried": SpikingPolicy(**SHARED, carry_state=True, steps_per_observation=1, max_seq_len=8),
}


def config_of(policy: Any, settings: PQN | None = None, *, num_workers: int = 0) -> Any:
    kind = policy.kind
    experiment = Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", num_envs=ENVS),
        spiking=policy if kind == "spiking" else SpikingPolicy(),
        ann=policy if kind == "ann" else AnnPolicy(),
        algorithm=settings or PQN(num_steps=STEPS, minibatch_size=40),
        stopping=Stopping(env_steps=1000),
    )
    return algorithm_config(experiment, kind, seed=0, num_workers=num_workers)


def made(policy: Any, settings: PQN | None = None) -> tuple[Any, Any]:
    """A runner and a learner with its weights."""
    config = config_of(policy, settings)
    runner = config.env_runner_cls(config=config, worker_index=0)
    learner = config.build_learner(spaces=runner.get_spaces())
    learner.build()
    learner.module[DEFAULT_MODULE_ID].load_state_dict(runner.module.state_dict())
    return runner, learner


def batch_of(config: Any, rollout: Any) -> dict[str, Any]:
    return train_batch([rollout], gamma=config.gamma, gae_lambda=config.estimate.gae_lambda, standardise=False)


def returns(rollout: Any, gamma: float, q_lambda: float) -> np.ndarray:
    """The lambda-returns by their definition, from the values of all actions, in float64."""
    highest = rollout.inputs.astype(np.float64).max(-1)
    highest = np.concatenate((highest, rollout.values[-1:]))
    found = np.zeros(rollout.rewards.shape)
    for n in range(found.shape[1]):
        for t in range(len(found) - 1, -1, -1):
            following = highest[t + 1, n]
            goes_on = (
                t + 1 < len(found) and not rollout.truncated[t, n]
            )  # nothing is known of what follows the fragment
            mixed = (1 - q_lambda) * following + q_lambda * found[t + 1, n] if goes_on else following
            found[t, n] = rollout.rewards[t, n] + (0 if rollout.terminated[t, n] else gamma * mixed)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_targets_are_the_lambda_returns_of_the_highest_values(policy: str) -> None:
    runner, _ = made(POLICIES[policy], PQN(num_steps=STEPS, minibatch_size=40, q_lambda=0.7))
    rollout = runner.sample()
    rollout.truncated[5, 0] = rollout.valid[5, 0] and not rollout.terminated[5, 0]
    assert rollout.terminated.any()
    np.testing.assert_allclose(rollout.values[:-1], rollout.inputs.max(-1))
    batch = batch_of(runner.config, rollout)
    wanted = arranged([{"returns": returns(rollout, 0.99, 0.7)}], [rollout])["returns"]
    mask = batch.get(Columns.LOSS_MASK, slice(None))
    torch.testing.assert_close(batch[Columns.VALUE_TARGETS][mask].double(), wanted[mask], rtol=1e-5, atol=1e-5)


def test_the_loss_by_hand() -> None:
    values = torch.tensor([[1.0, 5.0], [2.0, 7.0]], requires_grad=True)
    loss = q_loss(values, torch.tensor([0, 1]), torch.tensor([4.0, 6.0]))
    assert loss.total.item() == pytest.approx(0.5 * (9 + 1) / 2)
    assert {name: value.item() for name, value in loss.told.items()} == {"qf_loss": 2.5, "qf_mean": 4.0}
    loss.total.backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[-1.5, 0.0], [0.0, 0.5]]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_step_of_the_learner_is_one_down_the_gradient_of_that_loss(policy: str) -> None:
    settings = PQN(
        num_steps=STEPS, minibatch_size=STEPS * ENVS, num_epochs=1, optimizer="adam", lr_decay=False, lr=0.01
    )
    runner, learner = made(POLICIES[policy], settings)
    rollout = runner.sample()
    batch = batch_of(runner.config, rollout)
    network = runner.module.network
    inputs = runner.module.forward_train(dict(batch))[Columns.ACTION_DIST_INPUTS]
    mask = batch.get(Columns.LOSS_MASK, torch.ones(inputs.shape[:-1], dtype=torch.bool))
    taken = inputs[mask].gather(-1, batch[Columns.ACTIONS][mask].unsqueeze(-1)).squeeze(-1)
    (0.5 * (taken - batch[Columns.VALUE_TARGETS][mask]).square().mean()).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    reference = torch.optim.Adam(network.parameters(), lr=0.01)
    reference.step()
    learner.update(
        training_data=TrainingData(batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, num_valid(batch))),
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
        num_epochs=1,
        num_total_minibatches=1,
    )
    learned = learner.module[DEFAULT_MODULE_ID].network.state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(learned[name], value, rtol=1e-3, atol=1e-5)


def test_the_optimiser_is_the_settings_one() -> None:
    for name, kind in (("radam", torch.optim.RAdam), ("adam", torch.optim.Adam)):
        _, learner = made(POLICIES["rows"], PQN(optimizer=name))  # type: ignore[arg-type]
        (optimizer,) = learner._named_optimizers.values()
        assert type(optimizer) is kind


@pytest.mark.parametrize("policy", POLICIES)
def test_the_learner_computes_what_the_rollout_computed(policy: str) -> None:
    runner, learner = made(POLICIES[policy])
    rollout = [runner.sample() for _ in range(2)][-1]
    batch = batch_of(runner.config, rollout)
    outputs = learner.module[DEFAULT_MODULE_ID].forward_train(dict(batch))
    mask = batch.get(Columns.LOSS_MASK, slice(None))
    for found, wanted in (
        (outputs[Columns.ACTION_DIST_INPUTS], batch[Columns.ACTION_DIST_INPUTS]),
        (outputs[Columns.EMBEDDINGS], batch[Columns.ACTION_DIST_INPUTS].amax(-1)),
    ):
        torch.testing.assert_close(found[mask], wanted[mask], rtol=1e-5, atol=1e-5)


def test_epsilon_follows_the_steps_of_the_run_of_all_runners() -> None:
    settings = PQN(num_steps=10, minibatch_size=10, epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=160)
    config = config_of(POLICIES["rows"], settings, num_workers=2)
    runner = config.env_runner_cls(config=config, worker_index=1)
    distribution, found, steps = runner.module.network.distribution, [], 0
    for _ in range(7):
        expected = max(0.1, 0.9 - 0.8 * 2 * steps / 160)
        steps += runner.sample().num_steps
        found.append(distribution.epsilon)
        assert found[-1] == pytest.approx(expected)
    assert (found[0], found[-1]) == (pytest.approx(0.9), pytest.approx(0.1))
    runner.reseed(80)  # as after a resumption
    runner.sample()
    assert distribution.epsilon == pytest.approx(0.5)


def test_without_exploration_actions_are_those_of_the_highest_values() -> None:
    runner, _ = made(POLICIES["carried"], PQN(num_steps=STEPS, epsilon_start=0.0, epsilon_end=0.0))
    rollout = runner.sample()
    np.testing.assert_array_equal(rollout.actions, rollout.inputs.argmax(-1))
    explorer, _ = made(POLICIES["carried"], PQN(num_steps=STEPS, epsilon_start=1.0))
    drawn = explorer.sample().actions
    assert 0.3 < drawn.mean() < 0.7


def test_the_network_has_the_weights_of_a_policys() -> None:
    runner, _ = made(POLICIES["from rest"])
    spaces = make_environment("CartPole-v1").observation_space, make_environment("CartPole-v1").action_space
    ActorCritic(*spaces, POLICIES["from rest"]).load_state_dict(runner.module.network.state_dict())


REFUSED = {
    "a critic's layers": (["spiking.share_layers=false"], "PQN has no critic, .* — set spiking.share_layers=true$"),
    "a critic that does not spike": (
        ["spiking.share_layers=false", "spiking.critic=ann"], "set spiking.share_layers=true spiking.critic=spiking$",
    ),
    "plastic layers": (
        ["spiking.share_layers=false", "spiking.norm=none", "spiking.plastic={}"], "set spiking.plastic=null$",
    ),
    "cut sequences": (["spiking.carry_state=true", "num_steps=65"], "num_steps 65 is no multiple of max_seq_len 32"),
    "a minibatch larger than a batch": (["num_envs=1"], r"minibatch_size 128 is larger than a batch, .* 64 — make it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case: str) -> None:
    settings, expected = REFUSED[case]
    experiment = make_experiment(env="CartPole-v1", settings=["algorithm=pqn", *settings])
    env = make_environment("CartPole-v1")
    with pytest.raises(UserError, match=expected) as caught:
        check_algorithm(experiment, "spiking", (env.observation_space, env.action_space), 0, 0)
    assert "\n" not in str(caught.value)


def test_other_actions_than_discrete_ones_are_refused() -> None:
    spaces = (gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Box(-1, 1, (2,), np.float32))
    config = PQNConfig().use(PQN())
    with pytest.raises(UserError, match=r"has the action space Box\(.* — PQN needs Discrete actions: take an"):
        config.check(Environment(id="Own-v0"), POLICIES["rows"], spaces)
