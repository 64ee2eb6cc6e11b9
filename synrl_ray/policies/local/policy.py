"""A trained local agent that acts without Ray, and its files: safetensors for weights, JSON for the rest.

Legend: N observations.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from synrl_ray.policies.description import Description, damage_of, described, read_description
from synrl_ray.policies.given import observations_from
from synrl_ray.policies.layers import require_bounded
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.table import agent_class, make_agent
from synrl_ray.policies.space_files import space_from_json, space_to_json
from synrl_ray.policies.weights import load_module, save_module
from synrl_ray.settings.local import LocalSettings

_FORMAT = "local-1"


class LocalPolicy:
    """Acts greedily on numpy observations and learns nothing; it has no state.

    Args:
        agent: the trained agent.
        settings: what it was made from.
        observation_space, action_space: of a single environment.
    """

    def __init__(
        self, agent: LocalAgent, settings: LocalSettings, observation_space: gym.Space, action_space: gym.Space
    ) -> None:
        self.agent, self.settings = agent, settings
        self.observation_space, self.action_space = observation_space, action_space

    @property
    def kind(self) -> str:
        """``"tabular"`` or ``"spiking"``."""
        return self.settings.policy

    def initial_state(self, batch: int, /) -> np.ndarray:
        """Nothing: ``[N, 0]``."""
        return np.zeros((batch, 0), np.float32)

    def act(
        self, observation: Any, state: np.ndarray | None = None, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the best actions.

        Args:
            observation: ``[*obs]`` or ``[N, *obs]``, numbers of any type; N may be 0.
            state: given back as it was, or empty.
            deterministic: ``True``: agents explore in training only.

        Returns:
            The action and the state; batched as the observation.

        Raises:
            ValueError: for an action by chance.
            InputError: if the observation is not of the space; a ``ValueError``.
            NonFiniteError: if it holds NaN or infinity.
        """
        if not deterministic:
            raise ValueError("a local agent explores in training only")
        batch, single = observations_from(observation, self.observation_space)
        actions = self.agent.greedy(batch) if len(batch) else np.zeros(0, np.int64)
        kept = self.initial_state(len(actions)) if state is None else np.asarray(state)
        return (actions[0], kept[0] if kept.ndim == 2 else kept) if single else (actions, kept)

    def save(self, folder: Path, **metadata: Any) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` (with ``metadata`` in it), each atomically."""
        description = {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            **metadata,
        }
        save_module(self.agent, folder, description)


def load_local_policy(folder: str | Path | Description) -> LocalPolicy:
    """Inverse of :meth:`LocalPolicy.save`. Nothing in the folder is executed; Ray is not needed.

    Raises:
        UserError: if the files are missing or damaged.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(_FORMAT)
        settings: LocalSettings = described(description, "settings", LocalSettings)
        spaces = (space_from_json(description["observation_space"]), space_from_json(description["action_space"]))

    def make() -> LocalAgent:
        agent = make_agent(*spaces, settings=agent_class(settings).untaught(settings))
        require_bounded(agent.numbers_per_observation)
        return agent

    return LocalPolicy(load_module(make, description.folder, anew=True), settings, *spaces)
