"""The learner of fragments: on-policy it takes the steps of A2C and PPO, and what is too old it leaves out."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.impala.algorithm import ImpalaAlgorithm
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.train_batch import (
    arranged,
    batch_of,
    collected,
    fragments,
    num_minibatches,
    train_batch,
)
from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import A2C, IMPALA, PPO, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.sampling.asynchronous import Fragment
from synrl_ray.sampling.return_scale import ReturnScale

STEPS, ENVS, LENGTH = 40, 4, 8
POLICIES = {
    "rows": AnnPolicy(hidden_sizes=(6,)),
    "from rest": SpikingPolicy(hidden_sizes=(16, 16), firing_rate=0.2),
    "carried": SpikingPolicy(
        hidden_sizes=(16, 16), carry_state=True, steps_per_observation=1, max_seq_len=LENGTH, norm="running"
    ),
    "normalised": AnnPolicy(hidden_sizes=(6,), normalise_observations=True),
}
TIMESTEPS = {NUM_ENV_STEPS_SAMPLED_LIFETIME: 0}


def config_of(algorithm: Any, policy: Any, **environment: Any) -> Any:
    kind = "ann" if isinstance(policy, AnnPolicy) else "spiking"
    experiment = Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", num_envs=ENVS, **environment),
        spiking=policy if kind == "spiking" else SpikingPolicy(),
        ann=policy if kind == "ann" else AnnPolicy(),
        algorithm=algorithm,
        stopping=Stopping(env_steps=1000),
    )
    config = algorithm_config(experiment, kind, seed=0, num_workers=0)
    config.rollout_fragment_length = STEPS  # of all algorithms alike
    return config


def made(algorithm: Any, policy: Any, **environment: Any) -> tuple[Any, Any]:
    """A runner and a learner with its weights."""
    config = config_of(algorithm, policy, **environment)
    runner = config.env_runner_cls(config=config, worker_index=0)
    learner = config.build_learner(spaces=runner.get_spaces())
    learner.build()
    learner.module[DEFAULT_MODULE_ID].load_state_dict(runner.module.state_dict())
    return runner, learner


def weights(learner: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.module[DEFAULT_MODULE_ID].state_dict().items()}


def update(learner: Any, *collected: Fragment) -> Any:
    return learner.update(training_data=TrainingData(episodes=list(collected)), timesteps=TIMESTEPS)


def step_of_reference(learner: Any, rollout: Any) -> dict[str, torch.Tensor]:
    """The weights after the synchronous algorithm's update."""
    config = learner.config
    batch = train_batch(
        [rollout], gamma=config.gamma, gae_lambda=config.settings.gae_lambda, standardise=config.estimate.standardise
    )
    torch.manual_seed(0)
    learner.update(
        training_data=TrainingData(batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, STEPS * ENVS)),
        timesteps=TIMESTEPS,
        num_epochs=config.num_epochs,
        num_total_minibatches=num_minibatches(batch, config.minibatch_size),
    )
    return weights(learner)


SHARED: dict[str, Any] = {"lr": 1e-3, "vf_loss_coeff": 0.3, "entropy_coeff": 0.02}
PASSES: dict[str, Any] = {**SHARED, "clip_param": 0.2, "gae_lambda": 0.9}
PAIRS = {
    "plain": (A2C(**SHARED), IMPALA(**SHARED)),
    "traces": (A2C(**SHARED, gae_lambda=0.9, optimizer="adam"), IMPALA(**SHARED, gae_lambda=0.9, optimizer="adam")),
    "surrogate": (
        PPO(**PASSES, num_epochs=1, train_batch_size=STEPS * ENVS, minibatch_size=STEPS * ENVS),
        IMPALA(**PASSES, optimizer="adam"),
    ),
    "passes": (
        PPO(**PASSES, num_epochs=3, train_batch_size=STEPS * ENVS, minibatch_size=32),
        IMPALA(**PASSES, optimizer="adam", num_epochs=3, minibatch_size=32),
    ),
}


def test_a_fragment_that_does_not_come_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a host that was cut off Ray would wait for minutes, and all learning with it."""
    waited: list[tuple[str, float]] = []

    def get(reference: str, timeout: float) -> Any:
        waited.append((reference, timeout))
        if reference == "dead":
            raise ray.exceptions.OwnerDiedError("", "", "")
        if reference == "cut off":
            raise ray.exceptions.GetTimeoutError
        return {"here": collected}[reference]

    runner, learner = made(IMPALA(num_steps=STEPS), POLICIES["rows"])
    collected = Fragment(runner.sample(), 0, 1)
    monkeypatch.setattr(ray, "get", get)
    for batch, num_lost in ((["cut off", "here", "dead"], 2), (["here", "cut off"], 1), (["here"], 0), (["here"], 0)):
        done = learner.update(training_data=TrainingData(batch_refs=batch), timesteps=TIMESTEPS)
        assert (done.num_lost, len(done.lags)) == (num_lost, 1)
    assert done.version == 4
    long, short = waited[0][1], waited[1][1]
    assert 1 <= short < long <= 30
    assert [timeout for _, timeout in waited] == [long, *([short] * 5), long], "what else was asked of that host"


@pytest.mark.parametrize("policy", ["rows", "carried"])
@pytest.mark.parametrize("pair", PAIRS)
def test_with_the_weights_that_acted_its_step_is_that_of_the_synchronous_algorithm(pair, policy):
    if pair == "passes" and policy == "rows":
        pytest.skip("minibatches of rows are drawn with the resets among them: other ones, of the same kind")
    reference, algorithm = PAIRS[pair]
    network = replace(POLICIES[policy], **({"norm": "none"} if policy == "carried" else {}))
    runner, learner = made(reference, network)
    rollout = runner.sample()
    assert (~rollout.valid).any(), "an episode's end is among the steps"
    before = weights(learner)
    _, own = made(algorithm, network)
    own.module[DEFAULT_MODULE_ID].load_state_dict(before)
    wanted = step_of_reference(learner, rollout)
    torch.manual_seed(0)
    done = update(own, Fragment(rollout, 0, 1))
    assert (done.version, done.lags) == (1, (0,))
    for name, value in weights(own).items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=2e-6)
        assert value.dtype != torch.float32 or "weight" not in name or not torch.equal(value, before[name]), name


@pytest.mark.parametrize("policy", ["rows", "carried"])
def test_columns_come_back_as_the_fragments_they_were(policy):
    runner, _ = made(IMPALA(), POLICIES[policy])
    rollouts = [runner.sample() for _ in range(2)]
    batch = batch_of([collected(r) for r in rollouts], rollouts, every_row=True)
    for found, rollout in zip(fragments(batch["action_logp"], rollouts), rollouts, strict=True):
        np.testing.assert_array_equal(found, rollout.logp)
    again = arranged([{"x": r.logp} for r in rollouts], rollouts, every_row=True)
    assert torch.equal(again["x"], batch["action_logp"])


def test_actions_that_have_become_less_likely_weigh_less():
    """The step on a fragment whose actions were likelier when they were taken, against that with ratios put in."""
    runner, learner = made(IMPALA(lr=1e-3), POLICIES["rows"])
    rollout, before = runner.sample(), weights(learner)
    update(learner, Fragment(rollout, 0, 1))
    fresh = weights(learner)
    learner.module[DEFAULT_MODULE_ID].load_state_dict(before)
    update(learner, Fragment(replace(rollout, logp=rollout.logp + np.float32(3.0)), 0, 1))
    moved = [
        sum(float((after[name] - before[name]).abs().sum()) for name in before if "bodies.0" in name)
        for after in (fresh, weights(learner))
    ]
    assert moved[1] < 0.9 * moved[0]


def test_fragments_that_are_too_old_are_left_out_and_named():
    runner, learner = made(IMPALA(**SHARED, max_lag=2), POLICIES["rows"])
    for version in range(4):
        update(learner, Fragment(runner.sample(), version, 1))
    before = weights(learner)
    done = update(learner, Fragment(runner.sample(), 1, 7))
    assert (done.version, done.lags, done.too_old) == (4, (), (7,))
    for name, value in weights(learner).items():
        assert torch.equal(value, before[name]), name
    done = update(learner, Fragment(runner.sample(), 1, 7), Fragment(runner.sample(), 2, 8))
    assert (done.version, done.lags, done.too_old) == (5, (2,), (7,))


def test_what_a_learner_of_several_leaves_out_moves_nothing():
    runner, learner = made(IMPALA(lr=1e-3), POLICIES["carried"])
    rollout = runner.sample()
    masked = replace(rollout, valid=np.zeros_like(rollout.valid))
    other = runner.sample()
    before = weights(learner)
    update(learner, Fragment(other, 0, 1))
    alone = weights(learner)
    learner.module[DEFAULT_MODULE_ID].load_state_dict(before)
    _, again = made(IMPALA(lr=1e-3), POLICIES["carried"])
    again.module[DEFAULT_MODULE_ID].load_state_dict(before)
    update(again, Fragment(other, 0, 1), Fragment(masked, 0, 2))
    for name, value in weights(again).items():
        if "norm" not in name:
            torch.testing.assert_close(value, alone[name], rtol=1e-5, atol=1e-7)


def test_normalisers_see_what_was_learned_from_after_it():
    runner, learner = made(IMPALA(**SHARED), POLICIES["normalised"])
    network = learner.module[DEFAULT_MODULE_ID].network
    rollout = runner.sample()
    update(learner, Fragment(rollout, 0, 1))
    np.testing.assert_allclose(network.normaliser.mean, rollout.observations[rollout.valid].mean(0), rtol=1e-4)


@pytest.mark.parametrize("policy", ["rows", "carried"])
def test_in_one_process_parts_of_a_fragment_are_learned_one_after_another(policy):
    config = config_of(IMPALA(**SHARED, envs_per_batch=1, num_steps=STEPS), POLICIES[policy], normalise_rewards=True)
    algorithm = config.build_algo()
    learner = algorithm.learner_group._learner
    rollout = algorithm.env_runner.sample()
    assert rollout.valid.shape == (STEPS, ENVS)
    algorithm._learn_from([rollout])
    assert learner.version == algorithm._version == ENVS
    whole = ReturnScale(algorithm.config.gamma)
    whole.update([rollout])
    assert learner.return_scale.get_state() == pytest.approx(whole.get_state())
    algorithm.stop()


def test_learners_that_have_not_finished_alike_count_by_the_one_that_has_most():
    states = {i: SimpleNamespace(get_num_in_flight_requests=partial(int, n)) for i, n in enumerate((1, 2))}
    manager = SimpleNamespace(_remote_actor_states=states)
    algorithm = SimpleNamespace(learner_group=SimpleNamespace(_worker_manager=manager))
    assert ImpalaAlgorithm._at_learners(algorithm) == 2


def test_rewards_are_scaled_by_the_returns_of_their_own_runner():
    runner, learner = made(IMPALA(**SHARED), POLICIES["rows"], normalise_rewards=True)
    rollouts = [runner.sample() for _ in range(2)]
    for number, rollout in enumerate([rollouts[0], rollouts[0], rollouts[1], rollouts[1]]):
        update(learner, Fragment(rollout, number, 1 + number % 2))
    both = learner.return_scale.get_state()
    _, alone = made(IMPALA(**SHARED), POLICIES["rows"], normalise_rewards=True)
    for number, rollout in enumerate(rollouts):
        update(alone, Fragment(rollout, number, 1))
    one = alone.return_scale.get_state()
    assert both["count"] == 2 * one["count"]
    assert both["mean"] == pytest.approx(one["mean"])


def test_a_loss_that_is_not_finite_stops_it():
    runner, learner = made(IMPALA(**SHARED), POLICIES["rows"])
    rollout = runner.sample()
    rollout.rewards[3] = np.nan
    with pytest.raises(NonFiniteError):
        update(learner, Fragment(rollout, 0, 1))


@pytest.mark.parametrize(("learners", "parts"), [(0, 5), (1, 5), (2, 10)])
def test_a_minibatch_has_as_many_steps_however_many_learners_share_it(
    monkeypatch: pytest.MonkeyPatch, learners: int, parts: int
) -> None:
    """Of 32 steps two learners take 16 each."""
    runner, learner = made(IMPALA(**PASSES, optimizer="adam", num_epochs=2, minibatch_size=32), POLICIES["rows"])
    learner.config = learner.config.copy(copy_frozen=False)
    learner.config.num_learners = learners
    taken: list[int] = []
    monkeypatch.setattr(OnPolicyLearner, "update", lambda self, **given: taken.append(given["num_total_minibatches"]))
    update(learner, Fragment(runner.sample(), 0, 0))
    assert taken == [parts]
