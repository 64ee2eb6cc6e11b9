"""Which of RLlib's algorithms train which module, judged when the module is built.

RLlib does not say which algorithm builds a module, and learners take for granted what they need of it: without it some
fail in the first update, and some skip the module. What a module is told are the settings that each algorithm adds to
``model_config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from synrl_ray.errors import UserError
from synrl_ray.settings.policies import SpikingPolicy

CRITICS = "critic_sizes"
"""What ``synrl_ray``'s own SAC adds to ``model_config``."""
_OF_NETWORKS = frozenset(DefaultModelConfig.__dataclass_fields__) - frozenset(SpikingPolicy.__dataclass_fields__)
"""Settings of RLlib's own networks, which it merges into it, too."""
_OF_ALGORITHMS = frozenset(
    {
        *("double_q", "dueling", "epsilon", "num_atoms", "std_init", "v_max", "v_min"),  # DQN
        *("twin_q", "num_actions", "n_quantiles", "n_critics", "top_quantiles_to_drop_per_net"),  # SAC and its kin
        CRITICS,
    }
)
"""What algorithms add."""
LOCAL = "learns_by_itself"
"""What :class:`~synrl_ray.algorithms.plastic.PlasticAlgorithm` adds."""
# A setting that an algorithm adds, the algorithm, and what it asks of a module. The first that is there counts.
_ADDED = (
    ("batch_length_T", "DreamerV3", "world model"),
    ("n_quantiles", "TQC", "critics of actions"),
    ("num_actions", "CQL", "critics of actions"),
    ("twin_q", "SAC or IQL", "critics of actions"),
    ("double_q", "DQN", "action values"),
)
_FAMILIES = {None: "PPO", "DQN": "DQN", "SAC or IQL": "SAC", "CQL": "SAC", "TQC": "TQC"}
"""Whose catalog the default module of an algorithm takes."""
_INSTEAD = "PPO, APPO or IMPALA, or for recorded episodes BC or MARWIL"


def check_actor_critic(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if an algorithm builds the module that cannot train an actor-critic."""
    algorithm, needed = _told_by(model_config)
    if algorithm is not None:
        raise _refusal(algorithm, module, needed, "QModule for DQN, or " if algorithm == "DQN" else "")


def check_q_module(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if another algorithm than DQN builds the module."""
    algorithm, needed = _told_by(model_config)
    if algorithm is None:
        raise UserError(f"only DQN can train {type(module).__name__}", "take DQN, or ActorCriticModule")
    if algorithm != "DQN":
        raise UserError(f"{algorithm} cannot train {type(module).__name__}, which has no {needed}", "take DQN")


def check_sac_module(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if another algorithm than ``synrl_ray``'s SAC builds the module."""
    if CRITICS not in model_config or _told_by(model_config)[0] != "SAC or IQL":
        problem = f"only synrl_ray's own SAC can train {type(module).__name__}"
        raise UserError(problem, "take it, or SpikingCatalog with RLlib's default module")


def of_the_policy(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``model_config`` says of the policy, without what RLlib has added."""
    return {name: value for name, value in model_config.items() if name not in _OF_NETWORKS | _OF_ALGORITHMS}


def catalog_family(model_config: Mapping[str, Any]) -> str:
    """Whose catalog the default module takes that an algorithm builds.

    Raises:
        UserError: for DreamerV3, whose module has a world model of its own.
    """
    algorithm, needed = _told_by(model_config)
    if algorithm not in _FAMILIES:
        raise UserError(f"{algorithm} takes no SpikingCatalog: it has a {needed} of its own", f"take {_INSTEAD}")
    return _FAMILIES[algorithm]


def check_local(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if an algorithm builds the module that would train it by gradients."""
    if LOCAL not in model_config:
        raise UserError(f"{type(module).__name__} learns by itself, without RLlib's learners", "take PlasticAlgorithm")


def _told_by(model_config: Mapping[str, Any]) -> tuple[str | None, str]:
    """The algorithm and what it asks of a module; ``None`` for those that train actor-critics."""
    return next(((name, needed) for setting, name, needed in _ADDED if setting in model_config), (None, ""))


def _refusal(algorithm: str, module: object, needed: str, instead: str = "") -> UserError:
    problem = f"{algorithm} cannot train {type(module).__name__}, which has no {needed}"
    return UserError(problem, f"take {instead}{_INSTEAD}")
