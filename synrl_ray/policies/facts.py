"""What an environment is like, found by making it once; nothing is played in it."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Literal

import gymnasium as gym
from gymnasium import spaces

from synrl_ray.defaults import DEFAULT_ALGORITHM, default_experiment
from synrl_ray.envs.flat import flattened
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.registration import ensure_registered
from synrl_ray.envs.time_limit import time_limit
from synrl_ray.errors import UserError
from synrl_ray.policies.spaces import ObservationEncoder, check_spaces
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.facts import SpaceFacts

Game = Literal["atari", "car_racing"]
_GAMES: dict[str, Game] = {"ale_py": "atari", "gymnasium.envs.box2d.car_racing": "car_racing"}
"""Module of the class of an environment → whose frames it gives."""
_OF_ACTIONS = {spaces.Discrete: "discrete", spaces.Box: "continuous"}


def game_of(env_id: str) -> Game | None:
    """The game whose preparation of frames there is, of a registered id; ``None`` for all others.

    Example:
        >>> game_of("CarRacing-v3"), game_of("CartPole-v1")
        ('car_racing', None)
    """
    name = env_id.rpartition(":")[2]
    with suppress(ImportError):
        ensure_registered(name)
    spec = gym.registry.get(name)
    entry = spec.entry_point if spec is not None else None
    module = entry.partition(":")[0] if isinstance(entry, str) else ""
    is_ram = spec is not None and spec.kwargs.get("obs_type") == "ram"
    return None if is_ram else next((game for start, game in _GAMES.items() if module.startswith(start)), None)


def facts_of(environment: Environment, game: Game | None = None) -> SpaceFacts:
    """What is known of an environment before anything is learned in it.

    Args:
        environment: which, and how it is prepared.
        game: whose preparation that is.

    Raises:
        UserError: if it cannot be made, or no policy serves its spaces.
    """
    env = make_environment(environment.id, environment.kwargs, environment.preprocessing)
    try:
        seen, acted, limit = flattened(env.observation_space), env.action_space, time_limit(env)
    finally:
        env.close()
    check_spaces(seen, acted, environment.id)
    facts: dict[str, Any] = {
        "observations": "states" if isinstance(seen, spaces.Discrete) else "vectors",
        "size": ObservationEncoder(seen).num_features,
        "have_spread": True,
        "actions": _OF_ACTIONS.get(type(acted), "several"),
        "num_actions": int(acted.n) if isinstance(acted, spaces.Discrete) else math.prod(acted.shape or (1,)),
        "time_limit": limit,
        "game": game,
    }
    # The defaults themselves say whether they suit: images for which the convolutions are too large are vectors.
    if isinstance(seen, spaces.Box) and len(seen.shape) == 3 and _suit(facts | {"observations": "images"}, seen, acted):
        facts["observations"] = "images"
    elif not _suit(facts, seen, acted):
        facts["have_spread"] = False
    return SpaceFacts(**facts)


def _suit(facts: dict[str, Any], seen: gym.Space, acted: gym.Space) -> bool:
    made = default_experiment("", SpaceFacts(**facts), DEFAULT_ALGORITHM)
    try:
        check_spaces(seen, acted, "", made.spiking)
    except UserError:
        return False
    return True
