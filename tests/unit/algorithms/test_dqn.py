"""DQN's module, learner and settings, without environments and without a Ray session."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, TD_ERROR_KEY
from ray.rllib.utils.schedules.scheduler import Scheduler

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.dqn.config import DQNConfig
from synrl_ray.algorithms.off_policy.algorithm import replay_of, train_batch
from synrl_ray.algorithms.off_policy.replay import Transitions
from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import DQN, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.kinds.control.checking import check as check_run
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.q_network import q_values
from synrl_ray.rl_modules import QModule
from synrl_ray.running.spec import RunSpec

SPACES = (gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(4))
B = 16


def experiment_of(algorithm: DQN, **policy: Any) -> Experiment:
    return Experiment(
        id="test",
        summary="test",
        environment=Environment(id="CartPole-v1", kwargs={"sutton_barto_reward": True}, num_envs=6),
        spiking=SpikingPolicy(hidden_sizes=(8,), steps_per_observation=2, **policy),
        ann=AnnPolicy(hidden_sizes=(8,)),
        algorithm=algorithm,
        stopping=Stopping(env_steps=10_000),
    )


def config_of(algorithm: DQN, policy: Any = "spiking", num_workers: int = 0) -> DQNConfig:
    return algorithm_config(experiment_of(algorithm), policy, seed=9, num_workers=num_workers)


def learner_of(algorithm: DQN, policy: Any = "spiking") -> Any:
    torch.manual_seed(0)
    learner = config_of(algorithm, policy).build_learner(spaces={DEFAULT_MODULE_ID: SPACES})
    learner.build()
    return learner


def module_of(learner: Any) -> QModule:
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def transitions(**changed: Any) -> Transitions:
    rng = np.random.default_rng(0)
    drawn = Transitions(
        rows=np.arange(B),
        observations=rng.uniform(-1, 1, (B, 3)).astype(np.float32),
        actions=rng.integers(4, size=B),
        rewards=rng.normal(size=B).astype(np.float32),
        next_observations=rng.uniform(-1, 1, (B, 3)).astype(np.float32),
        terminated=rng.random(B) < 0.3,
        num_steps=rng.integers(1, 4, B),
        weights=rng.uniform(0.5, 1, B).astype(np.float32),
    )
    return replace(drawn, **changed)


def update(learner: Any, env_steps: int = 1, **changed: Any) -> dict[str, Any]:
    timesteps = {NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps}
    return learner.update(batch=train_batch(transitions(**changed)), timesteps=timesteps)[DEFAULT_MODULE_ID]


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten().float() for tensor in network.state_dict().values()]).clone()


# --- the module ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["spiking", "ann"])
@pytest.mark.parametrize("double_q", [False, True])
def test_module_returns_what_rllibs_loss_reads(policy: str, double_q: bool) -> None:
    module = module_of(learner_of(DQN(double_q=double_q), policy))
    batch = {Columns.OBS: torch.rand(5, 3), Columns.NEXT_OBS: torch.rand(5, 3)}
    outputs = module.forward_train(batch)
    expected = {QF_PREDS, QF_TARGET_NEXT_PREDS} | ({QF_NEXT_PREDS} if double_q else set())
    assert {name: tuple(value.shape) for name, value in outputs.items()} == dict.fromkeys(expected, (5, 4))
    assert {name for name, value in outputs.items() if value.requires_grad} == {QF_PREDS}


@pytest.mark.parametrize("dueling", [False, True])
def test_inference_and_the_saved_policy_act_as_the_argmax_of_the_values(dueling: bool) -> None:
    module = module_of(learner_of(DQN(dueling=dueling)))
    observations = torch.rand(50, 3) * 2 - 1
    values = module.compute_q_values({Columns.OBS: observations})[QF_PREDS]
    actions = module.forward_inference({Columns.OBS: observations})[Columns.ACTIONS]
    assert torch.equal(actions, values.argmax(-1))
    assert len(actions.unique()) > 1
    policy = Policy(module.network, *SPACES)
    assert np.array_equal(policy.act(observations.numpy())[0], actions.numpy())


def test_exploration_follows_the_schedule() -> None:
    module = module_of(learner_of(DQN(epsilon_start=1.0, epsilon_end=0.2, epsilon_steps=1000)))
    batch = {Columns.OBS: torch.zeros(20_000, 3)}
    greedy = int(module.forward_inference(batch)[Columns.ACTIONS][0])
    for step, epsilon in [(0, 1.0), (500, 0.6), (1000, 0.2), (5000, 0.2)]:
        actions = module.forward_exploration(batch, t=step)[Columns.ACTIONS]
        shares = torch.bincount(actions, minlength=4) / len(actions)
        for action in range(4):
            assert shares[action] == pytest.approx(epsilon / 4 + (action == greedy) * (1 - epsilon), abs=0.02)


def test_module_of_an_env_runner_has_no_target_network() -> None:
    whole = module_of(learner_of(DQN()))
    kwargs = {"observation_space": SPACES[0], "action_space": SPACES[1], "model_config": whole.model_config}
    module = QModule(**kwargs, inference_only=True)
    module.set_state(whole.get_state(inference_only=True))
    assert torch.equal(weights(module.network), weights(whole.network))
    assert not hasattr(module, "_target_network")
    assert any(name.startswith("_target_network") for name in whole.get_state())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_observation_that_is_not_finite_is_named(value: float) -> None:
    module = module_of(learner_of(DQN()))
    with pytest.raises(NonFiniteError, match="the observation"):
        module.forward_inference({Columns.OBS: torch.full((2, 3), value)})


def test_distributions_over_returns_are_refused() -> None:
    settings = {"double_q": True, "num_atoms": 10}
    with pytest.raises(ValueError, match="num_atoms must be 1, got 10"):
        QModule(observation_space=SPACES[0], action_space=SPACES[1], model_config=settings)


# --- the learner ---------------------------------------------------------------------------------------------------

VARIANTS = {
    "plain": DQN(double_q=False),
    "double": DQN(),
    "dueling": DQN(dueling=True),
    "n-step": DQN(n_step=3),
    "prioritised": DQN(prioritised=True),
    "soft": DQN(tau=0.01),
    "all": DQN(dueling=True, n_step=3, prioritised=True, tau=0.01),
}


@pytest.mark.parametrize("policy", ["spiking", "ann"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_from_a_batch(variant: str, policy: str) -> None:
    learner = learner_of(VARIANTS[variant], policy)
    losses = [float(update(learner)["qf_loss"].peek()) for _ in range(100)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("double_q", [False, True])
def test_loss_is_the_weighted_huber_loss_of_the_n_step_target(dueling: bool, double_q: bool) -> None:
    learner = learner_of(DQN(dueling=dueling, double_q=double_q, gamma=0.9))
    module, drawn = module_of(learner), transitions()
    with torch.no_grad():
        for parameter in module._target_network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        online = [q_values(module.network, torch.as_tensor(o), dueling=dueling) for o in (
            drawn.observations, drawn.next_observations)]  # fmt: skip
        target = q_values(module._target_network, torch.as_tensor(drawn.next_observations), dueling=dueling)
    chosen = (online[1] if double_q else target).argmax(-1)
    following = target.numpy()[np.arange(B), chosen] * ~drawn.terminated
    wanted = drawn.rewards + 0.9**drawn.num_steps * following
    errors = online[0].numpy()[np.arange(B), drawn.actions] - wanted
    huber = np.where(abs(errors) < 1, 0.5 * errors**2, abs(errors) - 0.5)
    results = update(learner)
    assert float(results["qf_loss"].peek()) == pytest.approx(float((drawn.weights * huber).mean()), rel=1e-4)
    reported = np.concatenate(results[TD_ERROR_KEY].peek(), axis=None)
    assert reported == pytest.approx(abs(errors), rel=1e-3, abs=1e-5)


def test_hard_update_copies_the_network_when_it_is_due() -> None:
    learner = learner_of(DQN(target_update=100))
    module = module_of(learner)
    start = weights(module._target_network)
    update(learner, env_steps=99)
    assert torch.equal(weights(module._target_network), start)
    assert not torch.equal(weights(module.network), start)
    update(learner, env_steps=100)
    copied = weights(module.network)
    assert torch.equal(weights(module._target_network), copied)
    update(learner, env_steps=199)
    assert torch.equal(weights(module._target_network), copied)
    update(learner, env_steps=200)
    assert torch.equal(weights(module._target_network), weights(module.network))


def test_soft_update_moves_by_tau_after_every_update() -> None:
    learner = learner_of(DQN(tau=0.1))
    module = module_of(learner)
    for env_steps in (64, 64, 128):  # several updates between two samplings
        before = weights(module._target_network)
        update(learner, env_steps=env_steps)
        expected = 0.9 * before + 0.1 * weights(module.network)
        torch.testing.assert_close(weights(module._target_network), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(weights(module._target_network), before)


def test_rewards_are_scaled() -> None:
    drawn = transitions()
    columns = train_batch(drawn, 0.1).policy_batches[DEFAULT_MODULE_ID]
    assert columns[Columns.REWARDS].numpy() == pytest.approx(0.1 * drawn.rewards)


def test_loss_that_is_not_finite_stops_before_the_step() -> None:
    learner = learner_of(DQN())
    before = weights(module_of(learner).network)
    rewards = transitions().rewards
    rewards[3] = np.inf
    with pytest.raises(NonFiniteError, match="batch 'rewards'"):
        update(learner, rewards=rewards)
    assert torch.equal(weights(module_of(learner).network), before)


# --- the settings --------------------------------------------------------------------------------------------------


def test_replay_is_prioritised_where_the_settings_say_so() -> None:
    settings = DQN(replay_capacity=1234, prioritised=True, priority_alpha=0.5, priority_beta=0.3)
    replay = replay_of(settings)
    assert (replay.capacity, replay.alpha, replay.beta) == (1234, 0.5, 0.3)
    assert replay_of(replace(settings, prioritised=False)).alpha == 0.0


def test_every_setting_arrives() -> None:
    own = {"gamma": 0.91, "grad_clip": 0.7, "double_q": False, "dueling": True, "n_step": 2}
    settings = DQN(
        lr=0.0123, lr_decay=False, train_batch_size=33, train_interval=50, num_updates=7, replay_capacity=1234,
        learning_starts=99, epsilon_start=0.8, epsilon_end=0.1, epsilon_steps=500, target_update=77, prioritised=True,
        priority_alpha=0.5, priority_beta=0.3, **own,
    )  # fmt: skip
    config = config_of(settings)
    assert {name: getattr(config, name) for name in own} == own
    assert (config.lr, config.total_train_batch_size, config.settings) == (0.0123, 33, settings)
    assert config.get_rollout_fragment_length() == 9  # 54 steps of 6 environments
    assert (config.num_steps_sampled_before_learning_starts, config.target_network_update_freq) == (99, 77)
    soft = config_of(replace(settings, tau=0.3))
    assert (soft.tau, soft.target_network_update_freq) == (0.3, 1)
    epsilon = Scheduler(fixed_value_or_schedule=config.epsilon, framework="torch")
    assert [float(epsilon.update(t)) for t in (0, 250, 500, 900)] == pytest.approx([0.8, 0.45, 0.1, 0.1])


def test_learning_rate_falls_linearly_to_zero_at_the_last_step() -> None:
    schedule = Scheduler(fixed_value_or_schedule=config_of(DQN(lr=0.1)).lr, framework="torch")
    assert [float(schedule.update(t)) for t in (0, 5_000, 10_000)] == pytest.approx([0.1, 0.05, 0.0], abs=1e-7)


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_workers_divide_the_environments_and_change_no_hyperparameter(policy: str) -> None:
    alone, many = (config_of(DQN(), policy, num_workers) for num_workers in (0, 3))
    assert (alone.num_envs_per_env_runner, many.num_envs_per_env_runner) == (6, 2)
    for name in ("settings", "total_train_batch_size", "lr", "epsilon", "seed"):
        assert getattr(alone, name) == getattr(many, name), name
    assert alone.get_rollout_fragment_length() == many.get_rollout_fragment_length(1)
    assert alone.rl_module_spec.model_config == many.rl_module_spec.model_config
    assert alone.rl_module_spec.module_class is QModule
    assert alone.rl_module_spec.model_config["kind"] == policy


def check(experiment: Experiment) -> None:
    check_run(RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0))


def test_policies_with_state_are_refused() -> None:
    check(experiment_of(DQN()))
    for policy, remedy in (({"carry_state": True}, "carry_state=false"), ({"frame_stack": 2}, "frame_stack=1")):
        with pytest.raises(UserError, match="carries a state") as caught:
            check(experiment_of(DQN(), **policy))
        assert caught.value.remedy == f"set spiking.{remedy}"


def test_replay_that_learning_never_starts_with_is_refused() -> None:
    with pytest.raises(UserError, match="learning_starts 1000 is larger than replay_capacity 500"):
        check(experiment_of(DQN(replay_capacity=500)))


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(UserError, match="Discrete actions"):
        check(replace(experiment_of(DQN()), environment=Environment(id="Pendulum-v1")))
