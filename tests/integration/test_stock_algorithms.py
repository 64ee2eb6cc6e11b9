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
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from synrl_ray.callbacks import PlasticityCallback
from synrl_ray.errors import UserError
from synrl_ray.rl_modules import ActorCriticModule, QModule, SpikingCatalog
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
OF_ACTIONS = ("SAC", "TQC")
ACTOR_CRITICS = [(ActorCriticModule, REST), (ActorCriticModule, CARRIED), (ActorCriticModule, STACKED)]
NAMES = {REST: "from-rest", PLASTIC: "plastic", CARRIED: "carried", STACKED: "stacked"}
INSTEAD = "take PPO, APPO or IMPALA, or for recorded episodes BC or MARWIL"


def config_of(algorithm: str, module: type, policy: SpikingPolicy | AnnPolicy) -> AlgorithmConfig:
    """With a module, or a catalog for the default one."""
    folder = importlib.import_module(f"ray.rllib.algorithms.{algorithm.lower()}")
    config: AlgorithmConfig = getattr(folder, f"{algorithm}Config")()
    name = "Pendulum-v1" if module is SpikingCatalog and algorithm in OF_ACTIONS else "CartPole-v1"
    env = gym.make(name)
    config.environment(name, observation_space=env.observation_space, action_space=env.action_space)
    config.env_runners(num_env_runners=0).learners(num_learners=0).debugging(seed=0)
    kind = "catalog_class" if module is SpikingCatalog else "module_class"
    config.rl_module(model_config=asdict(policy), rl_module_spec=RLModuleSpec(**{kind: module}))
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


@pytest.mark.parametrize("policy", [REST, CARRIED], ids=["from-rest", "carried"])
@pytest.mark.parametrize("algorithm", ["PPO", "APPO", "IMPALA", "DQN", "SAC", "TQC"])
def test_default_modules_with_spiking_encoders_learn(algorithm: str, policy: SpikingPolicy) -> None:
    config = config_of(algorithm, SpikingCatalog, policy)
    if algorithm in ("DQN", *OF_ACTIONS):
        replay = {"type": "EpisodeReplayBuffer", "capacity": 1000}
        config.training(num_steps_sampled_before_learning_starts=32, replay_buffer_config=replay)
        config.training(train_batch_size_per_learner=8).reporting(min_sample_timesteps_per_iteration=8)
    else:
        config.env_runners(rollout_fragment_length=32).training(train_batch_size_per_learner=128)
        config.training(**({"minibatch_size": 64, "num_epochs": 1} if algorithm == "PPO" else {}))
    if algorithm in OF_ACTIONS and policy is CARRIED:
        with pytest.raises(UserError, match=f"{algorithm}'s modules keep no state — set carry_state=false"):
            build(config)
    else:
        check_training(config.reporting(min_time_s_per_iteration=0))


@pytest.mark.parametrize(
    ("module", "policy"),
    [
        (ActorCriticModule, REST),
        (ActorCriticModule, CARRIED),
        (PlasticActorCritic, PLASTIC),
        (SpikingCatalog, REST),
        (SpikingCatalog, CARRIED),
    ],
)
@pytest.mark.parametrize("algorithm", ["BC", "MARWIL"])
def test_recorded_episodes_train_an_actor(algorithm: str, module: type, policy: SpikingPolicy) -> None:
    """The learner alone, on episodes: reading them from files is RLlib's, and takes longer than all the rest."""
    config = config_of(algorithm, module, policy)
    learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (config.observation_space, config.action_space)})
    learner.build()
    before = {name: np.array(value) for name, value in learner.module[DEFAULT_MODULE_ID].get_state().items()}
    rng = np.random.default_rng(0)
    episode = SingleAgentEpisode(
        observations=list(rng.normal(size=(33, 4)).astype(np.float32)),
        actions=list(rng.integers(0, 2, 32)),
        rewards=list(rng.normal(size=32)),
        terminated=True,
        observation_space=config.observation_space,
        action_space=config.action_space,
        len_lookback_buffer=0,
    )
    episode.to_numpy()
    told = learner.update(episodes=[episode], timesteps={"num_env_steps_sampled_lifetime": 32})
    after = learner.module[DEFAULT_MODULE_ID].get_state()
    assert told
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    plastic = set(learner.module[DEFAULT_MODULE_ID].unwrapped().plastic_names if module is PlasticActorCritic else ())
    assert {name for name in before if is_first_of_actor(name)} <= changed
    assert not plastic & changed


def is_first_of_actor(name: str) -> bool:
    """Whether a weight is that of an actor's first layer; RLlib's modules have names of their own for it."""
    return name.endswith("network.bodies.0.linears.0.weight") and not any(w in name for w in ("target", "critic", "qf"))


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
    first = {name for name in before if is_first_of_actor(name) and "_old" not in name}
    assert first
    assert first <= changed
