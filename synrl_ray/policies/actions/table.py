"""Which distribution a policy's actions have.

Sampling, learners, RLlib and saved policies all ask the one that is made here, as
:attr:`synrl_ray.policies.actor_critic.ActorCritic.distribution`. A further one is a class and a line of
:data:`OF_BOXES` or :data:`OF_SPACES`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from synrl_ray.policies.actions.base import ActionDistribution
from synrl_ray.policies.actions.continuous import Beta, Gaussian, SquashedGaussian
from synrl_ray.policies.actions.discrete import Bernoulli, Categorical, MultiCategorical
from synrl_ray.settings.policies import PolicyLayout

OF_BOXES: dict[str, type[Any]] = {"gaussian": Gaussian, "squashed_gaussian": SquashedGaussian, "beta": Beta}
"""Distributions of Box actions, by the setting's value. Those with a free deviation take ``state_dependent_std``."""
OF_SPACES: dict[type[gym.Space], type[Any]] = {
    spaces.Discrete: Categorical,
    spaces.MultiDiscrete: MultiCategorical,
    spaces.MultiBinary: Bernoulli,
}
"""Distributions of the other actions."""


def action_distribution(action_space: gym.Space, config: PolicyLayout) -> ActionDistribution:
    """What the outputs of a policy's network say of its actions.

    Args:
        action_space: one that :func:`synrl_ray.policies.spaces.check_spaces` lets through.
        config: its ``action_distribution`` and ``state_dependent_std`` are about Box actions.
    """
    options = {"state_dependent_std": True} if config.state_dependent_std else {}
    if isinstance(action_space, spaces.Box):
        found: ActionDistribution = OF_BOXES[config.action_distribution](action_space, **options)
        return found
    made: ActionDistribution = next(c for kind, c in OF_SPACES.items() if isinstance(action_space, kind))(action_space)
    return made
