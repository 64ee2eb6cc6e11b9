"""Which of RLlib's algorithms train which module, judged when the module is built.

RLlib does not say which algorithm builds a module, and learners take for granted what they need of it: without it some
fail in the first update, some skip the module, and APPO's dies in a thread for which training waits for ever. What a
module is told are the settings that each algorithm adds to ``model_config``, and what the learner asks it to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synrl_ray.errors import UserError

DQN_SETTINGS = frozenset({"double_q", "dueling", "epsilon", "num_atoms", "std_init", "v_max", "v_min"})
"""What DQN adds to ``model_config``."""
LOCAL = "learns_by_itself"
"""What :class:`~synrl_ray.algorithms.plastic.PlasticAlgorithm` adds to it."""
# A setting that an algorithm adds, the algorithm, and what it asks of a module. The first that is there counts.
_ADDED = (
    ("batch_length_T", "DreamerV3", "world model"),
    ("n_quantiles", "TQC", "critics of actions"),
    ("num_actions", "CQL", "critics of actions"),
    ("twin_q", "SAC or IQL", "critics of actions"),
    ("double_q", "DQN", "action values"),
)
_INSTEAD = "PPO or IMPALA, or for recorded episodes BC or MARWIL"


def check_actor_critic(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if an algorithm builds the module that cannot train an actor-critic."""
    algorithm, needed = _told_by(model_config)
    if algorithm is not None:
        raise _refusal(algorithm, module, needed, "QModule for DQN, or " if algorithm == "DQN" else "")


def without_target_network(module: object) -> UserError:
    """What an actor-critic answers a learner that asks for a target network: of those that get so far, APPO's."""
    return _refusal("APPO", module, "target network")


def check_q_module(module: object, model_config: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` if another algorithm than DQN builds the module."""
    algorithm, needed = _told_by(model_config)
    if algorithm is None:
        raise UserError(f"only DQN can train {type(module).__name__}", "take DQN, or ActorCriticModule")
    if algorithm != "DQN":
        raise UserError(f"{algorithm} cannot train {type(module).__name__}, which has no {needed}", "take DQN")


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
