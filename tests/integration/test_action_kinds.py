"""All kinds of actions and observations: sampled, recomputed, learned and judged; toys are in ``toy_envs.py``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toy_envs
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.experiment import DQN, PPO, PQN, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping
from synrl_ray.policies.loading import load_policy
from synrl_ray.policies.policy import Policy
from synrl_ray.rl_modules import ActorCriticModule, QModule
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.failures import ResettingVectorEnv

TOYS = {"ToyLevers-v0": 5.0, "ToySwitches-v0": 6.0, "ToyParts-v0": 5.0, "ToyMasked-v0": 7.0}
"""What a policy that has learned a little gets at least; random ones get 2.3, 4, 2.7 and 6."""
SMALL: dict[str, Any] = {"hidden_sizes": (32,)}
ON_POLICY = PPO(train_batch_size=512, minibatch_size=64, num_epochs=6, lr=0.01, entropy_coeff=0.0)


def experiment(env_id: str, algorithm: Any = ON_POLICY, **settings: Any) -> Experiment:
    spiking = {**SMALL, "steps_per_observation": 2, "input_gain": 4.0, "max_seq_len": 8}
    return Experiment(
        id="kinds",
        summary="kinds",
        environment=Environment(id=env_id, num_envs=8),
        spiking=SpikingPolicy(**{**spiking, **settings}),
        ann=AnnPolicy(
            **{
                **SMALL,
                **{name: value for name, value in settings.items() if name not in ("carry_state", "input_gain")},
            }
        ),
        algorithm=algorithm,
        stopping=Stopping(env_steps=10_000),
    )


@pytest.mark.parametrize("carry_state", [False, True], ids=["from-rest", "carried"])
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        *((name, {}) for name in TOYS),
        ("ToyParts-v0", {"normalise_observations": True}),
        ("ToyMasked-v0", {"share_layers": True}),
        ("Pendulum-v1", {"action_distribution": "beta"}),
        ("Pendulum-v1", {"action_distribution": "squashed_gaussian"}),
        ("Pendulum-v1", {"action_distribution": "squashed_gaussian", "state_dependent_std": True, "input_gain": 1.0}),
        ("Pendulum-v1", {"state_dependent_std": True, "input_gain": 1.0}),
    ],
)
def test_learner_recomputes_the_rollout(env_id: str, settings: dict[str, Any], carry_state: bool) -> None:
    config = algorithm_config(experiment(env_id, carry_state=carry_state, **settings), "spiking", seed=1, num_workers=0)
    runner = BatchedEnvRunner(config=config)
    distribution = runner.module.network.distribution
    # The rounding of a logarithm of a deviation counts as often as the squared noise.
    within = 1e-4 if settings.get("state_dependent_std") else 1e-5
    for _ in range(2):  # the later one begins in mid-episode
        rollout = runner.sample()
        batch = train_batch([rollout], gamma=0.99, gae_lambda=0.95, standardise=False)
        outputs = runner.module.forward_train(batch)
        logp, entropy = distribution.logp_and_entropy(outputs[Columns.ACTION_DIST_INPUTS], batch[Columns.ACTIONS])
        kept = batch.get(Columns.LOSS_MASK, torch.ones_like(logp, dtype=torch.bool))
        assert int(kept.sum()) == rollout.num_steps > 0
        torch.testing.assert_close(logp[kept], batch[Columns.ACTION_LOGP][kept], atol=within, rtol=0)
        assert torch.isfinite(entropy).all()
        values = batch[Columns.VALUE_TARGETS] - batch[Columns.ADVANTAGES]
        torch.testing.assert_close(outputs[Columns.EMBEDDINGS][kept], values[kept], atol=1e-5, rtol=1e-5)
    runner.stop()


def test_no_masked_action_reaches_an_environment_and_the_entropy_is_of_the_allowed_ones() -> None:
    runner = BatchedEnvRunner(config=algorithm_config(experiment("ToyMasked-v0"), "spiking", seed=1, num_workers=0))
    rollout = runner.sample()  # one that is not allowed would raise, and count as a failure
    assert runner.failures.failures == 0
    inputs, actions = torch.from_numpy(rollout.inputs), torch.from_numpy(rollout.actions)
    allowed = torch.from_numpy(runner.module.network.mask.allowed(rollout.observations))
    valid = torch.from_numpy(rollout.valid)
    assert allowed.gather(-1, actions.unsqueeze(-1)).squeeze(-1)[valid].all()
    assert (allowed.sum(-1)[valid] == 2).all()
    assert not allowed[~valid].any(), "after an episode's end nothing is allowed"
    _, entropy = runner.module.network.distribution.logp_and_entropy(inputs, actions)
    two = inputs[valid][allowed[valid]].view(-1, 2)
    torch.testing.assert_close(entropy[valid], torch.distributions.Categorical(logits=two).entropy())
    runner.stop()


class ManyParts(gym.vector.VectorEnv):
    """Two environments of its own vector form, whose observations have parts; the second one forbids all in time."""

    metadata = {"render_modes": [], "autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int = 2, empty_after: int | None = None, end: str = "") -> None:
        self.num_envs, self.empty_after, self.end, self.count = num_envs, empty_after, end, 0
        one = toy_envs.Masked()
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.observation_space = gym.vector.utils.batch_space(one.observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(one.action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict]:
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[Any, ...]:
        self.count += 1
        ends = [np.full(self.num_envs, self.end == how) for how in ("terminated", "truncated")]
        return self._observe(), np.zeros(self.num_envs), *ends, {}

    def _observe(self) -> Any:
        mask = np.ones((self.num_envs, 5), np.int8)
        if self.count == self.empty_after:
            mask[1] = 0
        return {"observations": np.full((self.num_envs, 2), self.count, np.float32), "action_mask": mask}


def test_vector_environments_are_flattened_and_their_masks_looked_at() -> None:
    envs = ResettingVectorEnv(ManyParts(empty_after=2), ManyParts)
    assert envs.single_observation_space.shape == (7,)
    assert envs.observation_space.shape == (2, 7)
    assert envs.reset()[0].tolist() == [[0, 0, 1, 1, 1, 1, 1]] * 2
    observations, *_, info = envs.step(np.zeros(2, np.int64))
    assert observations.tolist() == [[1, 1, 1, 1, 1, 1, 1]] * 2
    assert not info
    *_, info = envs.step(np.zeros(2, np.int64))
    assert info["failure"][0] == "step() returned an action mask that allows no action"


@pytest.mark.parametrize(("end", "fails"), [("terminated", False), ("truncated", True)])
def test_vector_environments_may_forbid_all_at_termination_alone(end: str, fails: bool) -> None:
    envs = ResettingVectorEnv(ManyParts(empty_after=1, end=end), ManyParts)
    envs.reset()
    *_, info = envs.step(np.zeros(2, np.int64))
    assert ("failure" in info) is fails


# --- with Ray ----------------------------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("env_id", "algorithm", "kind"),
    [
        *((name, ON_POLICY, "ann") for name in TOYS),
        (
            "ToyMasked-v0",
            DQN(train_batch_size=32, learning_starts=64, replay_capacity=2000, epsilon_steps=500, num_updates=8),
            "ann",
        ),
        ("ToyMasked-v0", PQN(epsilon_steps=1000, minibatch_size=64, lr=0.01), "ann"),
    ],
)
def test_it_is_learned_saved_and_judged_again(env_id: str, algorithm: Any, kind: Any, tmp_path: Any) -> None:
    shared = {"share_layers": True} if isinstance(algorithm, PQN) else {}
    built = algorithm_config(experiment(env_id, algorithm, **shared), kind, seed=0, num_workers=0).build_algo()
    try:
        for _ in range(8):
            built.train()
        module = built.get_module()
        policy = Policy(module.network, module.observation_space, module.action_space)
        policy.save(tmp_path)
    finally:
        built.stop()
    again = load_policy(tmp_path)
    assert again.observation_space == policy.observation_space
    assert again.action_space == policy.action_space
    results = [evaluate_policy(one, lambda: make_environment(env_id), episodes=10, seed=5) for one in (policy, again)]
    assert results[0].digests == results[1].digests
    # With action values so soon, that every action is allowed: one that is not would raise, and eight that are pay 4.
    assert results[0].returns.mean() >= (TOYS[env_id] if algorithm is ON_POLICY else 4.0)
    env = gym.make(env_id)  # as it is, without what this package puts around it
    observation, _ = env.reset(seed=5)
    total, ended, state = 0.0, False, None
    while not ended:
        action, state = again.act(observation, state)
        observation, reward, ended, _, _ = env.step(action)
        total += float(reward)
    assert total == results[0].returns[0]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        *((name, {}) for name in TOYS),
        ("Pendulum-v1", {"action_distribution": "beta"}),
        ("Pendulum-v1", {"action_distribution": "squashed_gaussian", "state_dependent_std": True}),
    ],
)
def test_stock_ppo_trains_all_of_them(env_id: str, settings: dict[str, Any]) -> None:
    config = PPOConfig().environment(env_id).env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    config.training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2, lr=1e-3)
    model = asdict(SpikingPolicy(**SMALL, steps_per_observation=2, **settings))
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCriticModule, model_config=model))
    built = config.debugging(seed=0).build_algo()
    try:
        before = {name: value.clone() for name, value in built.get_module().network.state_dict().items()}
        learned = built.train()["learners"]["default_policy"]
        assert all(np.isfinite(learned[name]) for name in ("policy_loss", "vf_loss", "entropy", "mean_kl_loss"))
        after = built.get_module().network.state_dict()
        assert any(not torch.equal(before[name], value) for name, value in after.items())
    finally:
        built.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_stock_dqn_trains_on_masked_observations() -> None:
    config = DQNConfig().environment("ToyMasked-v0").env_runners(num_env_runners=0)
    config.training(train_batch_size=32, num_steps_sampled_before_learning_starts=64)
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=QModule, model_config=asdict(AnnPolicy(**SMALL))))
    config.reporting(min_sample_timesteps_per_iteration=100)
    built = config.debugging(seed=0).build_algo()
    try:
        for _ in range(3):
            result = built.train()
        assert np.isfinite(result["learners"]["default_policy"]["qf_loss"])
    finally:
        built.stop()


@pytest.mark.parametrize("env_id", ["ToyLevers-v0", "ToySwitches-v0"])
def test_dqn_refuses_several_choices_at_once(env_id: str) -> None:
    chosen = experiment(env_id, DQN())
    env = gym.make(env_id)
    config = algorithm_config(chosen, "ann", seed=0, num_workers=0)
    with pytest.raises(UserError) as caught:
        config.check(chosen.environment, chosen.ann, (env.observation_space, env.action_space))
    assert str(caught.value) == (
        f"{env_id} has the action space {env.action_space} — DQN needs Discrete actions: take an experiment with PPO"
    )
