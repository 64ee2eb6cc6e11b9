"""RLlib's stock algorithms with the project's modules: each learns, or is refused when it is built, with what to take.

docs/algorithms.md has the table. That stock PPO learns is tests/learning/test_stock_ppo_learns.py.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from synrl_ray.callbacks import PlasticityCallback
from synrl_ray.errors import UserError
from synrl_ray.rl_modules import ActorCriticModule, QModule
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.plasticity import PlasticLayers
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL: dict[str, Any] = {"hidden_sizes": (16,), "steps_per_observation": 2}
REST = SpikingPolicy(**SMALL)
PLASTIC = SpikingPolicy(plastic=PlasticLayers(), **SMALL)
CARRIED = SpikingPolicy(carry_state=True, max_seq_len=16, **SMALL)
STACKED = AnnPolicy(hidden_sizes=(16,), frame_stack=2)
ACTOR_CRITICS = [(ActorCriticModule, REST), (ActorCriticModule, CARRIED), (ActorCriticModule, STACKED)]
NAMES = {REST: "from-rest", PLASTIC: "plastic", CARRIED: "carried", STACKED: "stacked"}
INSTEAD = "take PPO, APPO or IMPALA, or for recorded episodes BC or MARWIL"


def config_of(algorithm: str, module: type, policy: SpikingPolicy | AnnPolicy) -> AlgorithmConfig:
    folder = importlib.import_module(f"ray.rllib.algorithms.{algorithm.lower()}")
    config: AlgorithmConfig = getattr(folder, f"{algorithm}Config")()
    env = gym.make("CartPole-v1")
    config.environment("CartPole-v1", observation_space=env.observation_space, action_space=env.action_space)
    config.env_runners(num_env_runners=0).learners(num_learners=0).debugging(seed=0)
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=module, model_config=asdict(policy)))
    if module is PlasticActorCritic:
        config.callbacks(PlasticityCallback)
    return config


def build(config: AlgorithmConfig) -> Any:
    """The algorithm; of one that learns from recorded episodes, the module, without the episodes."""
    if config.algo_class.__name__ in ("BC", "MARWIL", "IQL", "CQL"):
        spaces = {DEFAULT_MODULE_ID: (config.observation_space, config.action_space)}
        return config.get_multi_rl_module_spec(spaces=spaces).build()
    return config.build_algo()


@pytest.mark.parametrize(("module", "policy"), [*ACTOR_CRITICS, (PlasticActorCritic, PLASTIC)])
@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ("SAC", f"SAC or IQL cannot train {{}}, which has no critics of actions — {INSTEAD}"),
        ("IQL", f"SAC or IQL cannot train {{}}, which has no critics of actions — {INSTEAD}"),
        ("CQL", f"CQL cannot train {{}}, which has no critics of actions — {INSTEAD}"),
        ("TQC", f"TQC cannot train {{}}, which has no critics of actions — {INSTEAD}"),
        ("DreamerV3", f"DreamerV3 cannot train {{}}, which has no world model — {INSTEAD}"),
        ("DQN", "DQN cannot train {}, which has no action values — take QModule for DQN, or"),
    ],
)
def test_what_cannot_train_an_actor_critic_is_refused_when_it_is_built(algorithm, said, module, policy) -> None:
    with pytest.raises(UserError) as refused:
        build(config_of(algorithm, module, policy))
    assert str(refused.value).startswith(said.format(module.__name__))


@pytest.mark.parametrize(
    "algorithm", ["PPO", "APPO", "IMPALA", "BC", "MARWIL", "SAC", "CQL", "TQC", "IQL", "DreamerV3"]
)
def test_only_dqn_trains_action_values(algorithm: str) -> None:
    with pytest.raises(UserError, match=r"(only DQN can|cannot) train QModule.* — take DQN"):
        build(config_of(algorithm, QModule, REST))


@pytest.mark.parametrize("algorithm", ["PPO", "IMPALA", "MARWIL", "DQN"])
def test_agents_that_learn_by_themselves_are_for_no_stock_algorithm(algorithm: str) -> None:
    with pytest.raises(UserError, match=r"LocalModule learns by itself.* — take PlasticAlgorithm"):
        build(config_of(algorithm, LocalModule, REST))


def test_plastic_weights_do_not_learn_from_recorded_episodes() -> None:
    offline = SimpleNamespace(env_runner_group=None)
    with pytest.raises(UserError, match=r"plastic weights learn in env runners.* — take PPO, APPO or IMPALA, or"):
        PlasticityCallback().on_algorithm_init(algorithm=offline)


def test_a_remote_learner_refuses_too() -> None:
    with pytest.raises(UserError, match="DQN cannot train ActorCriticModule"):
        config_of("DQN", ActorCriticModule, REST).learners(num_learners=1).build_algo()


def weights_of(algorithm: Any) -> dict[str, np.ndarray]:
    state = algorithm.learner_group.get_state(components="learner/rl_module")
    return {name: np.array(value) for name, value in state["learner"]["rl_module"][DEFAULT_MODULE_ID].items()}


@pytest.mark.parametrize(("module", "policy"), [*ACTOR_CRITICS, (PlasticActorCritic, PLASTIC)])
@pytest.mark.parametrize("algorithm", ["IMPALA", "APPO"])
def test_every_actor_critic_is_trained_asynchronously(algorithm: str, module: type, policy: Any) -> None:
    config = config_of(algorithm, module, policy)
    config.env_runners(rollout_fragment_length=32).training(train_batch_size_per_learner=128)
    check_training(config.reporting(min_time_s_per_iteration=0))


def test_dqn_trains_action_values() -> None:
    config = config_of("DQN", QModule, REST)
    config.training(train_batch_size=32, num_steps_sampled_before_learning_starts=64)
    check_training(config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=100))


@pytest.mark.parametrize(("module", "policy"), [(ActorCriticModule, REST), (PlasticActorCritic, PLASTIC)])
@pytest.mark.parametrize("algorithm", ["BC", "MARWIL"])
def test_recorded_steps_train_an_actor_critic(algorithm: str, module: type, policy: SpikingPolicy) -> None:
    """The learner alone: reading episodes is RLlib's, and takes longer than all the rest."""
    config = config_of(algorithm, module, policy)
    learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (config.observation_space, config.action_space)})
    learner.build()
    before = {name: np.array(value) for name, value in learner.module[DEFAULT_MODULE_ID].get_state().items()}
    rng = np.random.default_rng(0)
    rows = {
        Columns.OBS: rng.normal(size=(32, 4)).astype(np.float32),
        Columns.ACTIONS: rng.integers(0, 2, 32),
        Columns.ADVANTAGES: rng.normal(size=32).astype(np.float32),
        Columns.VALUE_TARGETS: rng.normal(size=32).astype(np.float32),
    }
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=32)
    told = learner.update(batch=batch, timesteps={"num_env_steps_sampled_lifetime": 32})
    after = learner.module[DEFAULT_MODULE_ID].get_state()
    assert told
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    plastic = set(learner.module[DEFAULT_MODULE_ID].unwrapped().plastic_names if module is PlasticActorCritic else ())
    assert {name for name in before if name.startswith("network.bodies.0.linears.0")} <= changed
    assert not plastic & changed


def check_training(config: AlgorithmConfig) -> None:
    """The learner updates three times, and every weight of the actor changes and stays finite."""
    algorithm = config.build_algo()
    try:
        before, losses = weights_of(algorithm), []
        for _ in range(200):
            told = algorithm.train().get("learners", {}).get(DEFAULT_MODULE_ID, {})
            loss = told.get("total_loss", np.nan)  # NaN where the learner had nothing to do in that iteration
            losses += [loss] if np.isfinite(loss) else []
            if len(losses) == 3:
                break
        after = weights_of(algorithm)
    finally:
        algorithm.stop()
    assert len(losses) == 3
    assert all(np.isfinite(value).all() for value in after.values())
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name for name in before if name.startswith("network.bodies.0") and name.endswith("weight")} <= changed
