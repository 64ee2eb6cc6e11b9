"""SAC's module, learner and settings, without environments and without a Ray session."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.off_policy.algorithm import train_batch
from synrl_ray.algorithms.off_policy.replay import Replay, Transitions
from synrl_ray.algorithms.sac.config import SACConfig
from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import SAC, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.policies.policy import Policy
from synrl_ray.rl_modules.soft_actor_critic import SACModule, check_soft_actor_critic
from synrl_ray.settings.plasticity import PlasticLayers

SPACES = (gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Box(-2, 2, (2,), np.float32))
OF_SAC: dict[str, Any] = {"action_distribution": "squashed_gaussian", "state_dependent_std": True}
SPIKING = SpikingPolicy(hidden_sizes=(8,), steps_per_observation=2, encoder="population", **OF_SAC)
ANN = AnnPolicy(hidden_sizes=(8,), **OF_SAC)
SMALL = SAC(critic_sizes=(6, 5), lr=1e-2)
B = 16


def config_of(algorithm: SAC, policy: Any = "spiking") -> SACConfig:
    experiment = Experiment(
        id="test",
        summary="test",
        environment=Environment(id="Pendulum-v1", num_envs=6, reward_scale=0.5),
        spiking=SPIKING,
        ann=ANN,
        algorithm=algorithm,
        stopping=Stopping(env_steps=10_000),
    )
    return algorithm_config(experiment, policy, seed=9, num_workers=0)


def learner_of(algorithm: SAC = SMALL, policy: Any = "spiking") -> Any:
    torch.manual_seed(0)
    learner = config_of(algorithm, policy).build_learner(spaces={DEFAULT_MODULE_ID: SPACES})
    learner.build()
    return learner


def module_of(learner: Any) -> SACModule:
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def transitions(**changed: Any) -> Transitions:
    rng = np.random.default_rng(0)
    drawn = Transitions(
        rows=np.arange(B),
        observations=rng.uniform(-1, 1, (B, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (B, 2)).astype(np.float32),
        rewards=rng.normal(size=B).astype(np.float32),
        next_observations=rng.uniform(-1, 1, (B, 3)).astype(np.float32),
        terminated=rng.random(B) < 0.3,
        num_steps=np.ones(B, np.int64),
        weights=np.ones(B, np.float32),
    )
    return replace(drawn, **changed)


def update(learner: Any, **changed: Any) -> dict[str, Any]:
    timesteps = {NUM_ENV_STEPS_SAMPLED_LIFETIME: 1}
    return learner.update(batch=train_batch(transitions(**changed)), timesteps=timesteps)[DEFAULT_MODULE_ID]


# --- the module ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_inference_and_the_saved_policy_act_as_the_tangent_of_the_mean(policy: str, tmp_path: Any) -> None:
    module = module_of(learner_of(policy=policy))
    observations = torch.rand(50, 3) * 2 - 1
    inputs = module.forward_exploration({Columns.OBS: observations})
    assert set(inputs) == {Columns.ACTION_DIST_INPUTS}
    mean, _ = inputs[Columns.ACTION_DIST_INPUTS].chunk(2, dim=-1)
    greedy = module.forward_inference({Columns.OBS: observations})[Columns.ACTIONS]
    torch.testing.assert_close(greedy, mean.tanh())
    assert greedy.std() > 0
    found, _ = Policy(module.network, *SPACES).act(observations.numpy())
    np.testing.assert_allclose(found, 2 * greedy.numpy(), rtol=1e-5, atol=1e-6)


def test_module_of_an_env_runner_has_no_critics_and_takes_the_learners_policy() -> None:
    whole = module_of(learner_of())
    kwargs = {"observation_space": SPACES[0], "action_space": SPACES[1], "model_config": whole.model_config}
    module = SACModule(**kwargs, inference_only=True)
    module.set_state(whole.get_state(inference_only=True))
    assert {name.split(".")[0] for name in module.state_dict()} == {"pi_encoder"}
    torch.testing.assert_close(dict(module.network.state_dict()), dict(whole.network.state_dict()))
    assert "log_alpha" in whole.get_state()


def test_critics_value_observation_and_action() -> None:
    module = module_of(learner_of())
    assert [tuple(layer.weight.shape) for layer in module.qf if hasattr(layer, "weight")] == [(6, 5), (5, 6), (1, 5)]
    batch = {Columns.OBS: torch.rand(4, 3), Columns.ACTIONS: torch.rand(4, 2)}
    both = torch.cat((batch[Columns.OBS], batch[Columns.ACTIONS]), dim=-1)
    values = torch.minimum(module.qf(both), module.qf_twin(both)).squeeze(-1)
    torch.testing.assert_close(module.compute_q_values(batch), values)


# --- the learner ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_one_step_down_the_sum_is_a_step_down_each_loss(policy: str) -> None:
    """RLlib's own learner takes four passes back, one from each loss, and this one a single one."""
    learner = learner_of(policy=policy)
    module = module_of(learner)
    batch = train_batch(transitions())[DEFAULT_MODULE_ID]
    outputs = module.forward_train(batch)
    loss = learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID, config=learner.config, batch=batch, fwd_out=outputs
    )
    own = {
        name: learner._temp_losses[(DEFAULT_MODULE_ID, f"{name}_loss")] for name in ("policy", "qf", "qf_twin", "alpha")
    }
    torch.testing.assert_close(sum(own.values()).squeeze(), loss.squeeze())
    parameters = {
        "policy": [p for p in module.network.bodies[0].parameters() if p.requires_grad],
        "qf": list(module.qf.parameters()),
        "qf_twin": list(module.qf_twin.parameters()),
        "alpha": [module.log_alpha],
    }
    expected = {name: torch.autograd.grad(own[name].sum(), parameters[name], retain_graph=True) for name in own}
    loss.sum().backward()
    for name, gradients in expected.items():
        for parameter, gradient in zip(parameters[name], gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        assert any(gradient.abs().sum() > 0 for gradient in gradients), name


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_an_update_trains_policy_critics_and_temperature_and_moves_the_targets(policy: str) -> None:
    learner = learner_of(replace(SMALL, tau=0.25), policy)
    module = module_of(learner)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    told = update(learner)
    after = module.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"qf.0.weight", "qf_twin.4.bias", "log_alpha", "target_qf.0.weight"} <= changed
    assert any(name.startswith("pi_encoder.network.bodies.0") for name in changed)
    assert not any(name.startswith("pi_encoder.network.bodies.1") for name in changed), "the value is not trained"
    torch.testing.assert_close(after["target_qf.0.weight"], 0.75 * before["qf.0.weight"] + 0.25 * after["qf.0.weight"])
    assert {"policy_loss", "qf_loss", "alpha_value"} <= set(told)


def test_the_temperature_falls_where_the_policy_is_more_random_than_wanted() -> None:
    for wanted, sign in ((-50.0, -1), (50.0, 1)):
        learner = learner_of(replace(SMALL, initial_alpha=0.2, target_entropy=wanted))
        assert float(module_of(learner).log_alpha.detach().exp()) == pytest.approx(0.2)
        update(learner)
        assert sign * (float(module_of(learner).log_alpha.detach().exp()) - 0.2) > 0
    assert learner_of()._get_target_entropy(DEFAULT_MODULE_ID) == -2.0


def test_a_checkpoint_holds_the_temperature() -> None:
    learner = learner_of()
    update(learner)
    again = learner_of()
    again.set_state(learner.get_state())
    assert float(module_of(again).log_alpha) == float(module_of(learner).log_alpha) != 0.0
    assert again.curr_log_alpha[DEFAULT_MODULE_ID] is module_of(again).log_alpha


def test_critics_learn_the_reward_where_every_step_ends_the_episode() -> None:
    learner = learner_of(replace(SMALL, critic_sizes=(32,)))
    drawn = transitions(terminated=np.ones(B, np.bool_), rewards=np.linspace(-1, 1, B).astype(np.float32))
    for _ in range(300):
        learner.update(batch=train_batch(drawn, 0.5), timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 1})
    batch = {Columns.OBS: torch.from_numpy(drawn.observations), Columns.ACTIONS: torch.from_numpy(drawn.actions)}
    found = module_of(learner).compute_q_values(batch).detach().numpy()
    np.testing.assert_allclose(found, 0.5 * drawn.rewards, atol=0.1)


def test_a_loss_that_is_not_finite_is_no_step() -> None:
    learner = learner_of()
    before = {name: value.clone() for name, value in module_of(learner).state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"batch 'rewards'"):
        update(learner, rewards=np.full(B, np.nan, np.float32))
    torch.testing.assert_close(dict(module_of(learner).state_dict()), before)


# --- configuration and settings --------------------------------------------------------------------------------------


def test_the_configuration_has_one_learning_rate_for_rllibs_three() -> None:
    config = config_of(replace(SMALL, lr=2e-3, initial_alpha=0.5))
    assert (config.actor_lr, config.critic_lr, config.alpha_lr, config.lr) == (2e-3, 2e-3, 2e-3, None)
    assert (config.tau, config.initial_alpha, config.target_entropy) == (0.005, 0.5, "auto")
    assert config.get_rollout_fragment_length() == 2  # of six environments: twelve steps, eight at least
    config.validate()
    assert isinstance(config, type(config.algo_class.get_default_config())), "RLlib would make it another's"


def test_the_replay_keeps_actions_as_they_are() -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (4, 2)).astype(np.float32)
    episode = SingleAgentEpisode(
        observations=list(rng.normal(size=(5, 3)).astype(np.float32)),
        actions=list(actions),
        rewards=[0.0] * 4,
        truncated=True,
        len_lookback_buffer=0,
    )
    replay = Replay(10)
    replay.add([episode])
    drawn = replay.sample(50)
    assert drawn.actions.dtype == np.float32
    np.testing.assert_array_equal(drawn.actions, actions[drawn.rows])


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (AnnPolicy(), "ann.action_distribution=squashed_gaussian ann.state_dependent_std=true"),
        (replace(SPIKING, carry_state=True), "set spiking.carry_state=false"),
        (replace(ANN, frame_stack=2), "set ann.frame_stack=1"),
        (replace(ANN, normalise_observations=True), "set ann.normalise_observations=false"),
        (replace(ANN, share_layers=True), "set ann.share_layers=false"),
        (replace(SPIKING, norm="running"), "set spiking.norm=layer"),
        (replace(SPIKING, critic="ann"), "leave out spiking.critic, and set critic_sizes"),
    ],
)
def test_policies_that_sac_cannot_train_are_refused(policy: Any, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_soft_actor_critic(*SPACES, policy)
    assert str(refused.value).endswith(said)


def test_plastic_layers_are_refused_with_the_actions_that_they_need() -> None:
    policy = SpikingPolicy(plastic=PlasticLayers())
    with pytest.raises(UserError, match="bounded Box"):
        check_soft_actor_critic(SPACES[0], gym.spaces.Discrete(2), policy)


@pytest.mark.parametrize("actions", [gym.spaces.Discrete(3), gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)])
def test_actions_without_bounds_are_refused(actions: gym.Space) -> None:
    with pytest.raises(UserError, match="SAC needs a bounded Box"):
        check_soft_actor_critic(SPACES[0], actions, SPIKING)


def test_another_algorithm_is_refused() -> None:
    for told in ({}, {"twin_q": True}, {"critic_sizes": (4,), "double_q": True}):
        with pytest.raises(
            UserError, match="only synrl_ray's own SAC can train SACModule — take it, or SpikingCatalog"
        ):
            SACModule(observation_space=SPACES[0], action_space=SPACES[1], model_config=told)
