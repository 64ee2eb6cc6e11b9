"""A trained policy that acts without Ray, and its files: safetensors for weights, JSON for the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from pydantic import TypeAdapter
from safetensors.torch import save

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.files import write_atomically
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.config import AnnPolicy, PolicyConfig, SpikingPolicy, policy_config
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of, described, read_description
from synrl_ray.policies.spaces import check_spaces, space_from_json, space_to_json, to_environment
from synrl_ray.policies.weights import load_module

_FORMAT = 1
_SETTINGS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (SpikingPolicy, AnnPolicy)}


class Policy:
    """Acts on numpy observations, one or a batch.

    Args:
        network: the trained network.
        observation_space, action_space: of a single environment.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> network = ActorCritic(env.observation_space, env.action_space, AnnPolicy())
        >>> policy = Policy(network, env.observation_space, env.action_space)
        >>> observation, _ = env.reset(seed=0)
        >>> action, state = policy.act(observation)
        >>> int(action) in (0, 1), state.shape
        (True, (0,))
    """

    def __init__(self, network: ActorCritic, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.network = network.eval()
        self.observation_space = observation_space
        self.action_space = action_space

    @property
    def config(self) -> PolicyConfig:
        """The network's configuration."""
        return self.network.config

    def initial_state(self, batch: int | None = None) -> np.ndarray:
        """The state at an episode's start: zeros ``[S]``, or ``[batch, S]``."""
        shape = (self.network.state_size,) if batch is None else (batch, self.network.state_size)
        return np.zeros(shape, dtype=np.float32)

    def act(
        self,
        observation: np.ndarray,
        state: np.ndarray | None = None,
        *,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose actions.

        Args:
            observation: ``[*obs]`` or ``[N, *obs]``.
            state: what the previous call returned, ``None`` at an episode's start.
            deterministic: the most likely action, or a sample.
            generator: source of randomness of the sample.

        Returns:
            The action as the environment takes it, and the state for the next call; batched as the observation.

        Raises:
            ValueError: if observation or state do not have the right shape.
            NonFiniteError: if the observation holds NaN or infinity.
        """
        observation = np.asarray(observation)
        rank = len(self.observation_space.shape or ())
        single = observation.ndim == rank
        if observation.ndim not in (rank, rank + 1) or observation.shape[observation.ndim - rank :] != tuple(
            self.observation_space.shape or ()
        ):
            raise ValueError(f"observation must be {self.observation_space.shape}, got {observation.shape}")
        space = self.observation_space
        if isinstance(space, spaces.Discrete) and not _all_within(observation, space):
            raise ValueError(f"observation must be in {space}, got {observation}")
        if not np.isfinite(observation).all():
            raise NonFiniteError("the observation", "given to the policy", "check the environment")
        batch = observation[None] if single else observation
        if state is None:
            state = self.initial_state(len(batch))
        state_NS = np.asarray(state, dtype=np.float32)
        if single and state_NS.ndim == 1:
            state_NS = state_NS[None]
        if state_NS.shape != (len(batch), self.network.state_size):
            raise ValueError(f"state must be {(len(batch), self.network.state_size)}, got {state_NS.shape}")
        with torch.no_grad():
            inputs, _, next_state = self.network(torch.as_tensor(batch)[None], torch.from_numpy(state_NS))
            actions = self._choose(inputs[0], deterministic, generator).numpy()
        actions = to_environment(self.action_space, actions)
        after = next_state.numpy()
        return (actions[0], after[0]) if single else (actions, after)

    def _choose(self, inputs: torch.Tensor, deterministic: bool, generator: torch.Generator | None) -> torch.Tensor:
        if isinstance(self.action_space, spaces.Discrete):
            if deterministic:
                return inputs.argmax(-1)
            return torch.multinomial(inputs.softmax(-1), 1, generator=generator).squeeze(-1)
        mean, log_std = inputs.chunk(2, dim=-1)
        return mean if deterministic else torch.normal(mean, log_std.exp(), generator=generator)

    def save(self, folder: Path, **metadata: Any) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` (with ``metadata`` in it), each atomically."""
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        description = {
            "format": _FORMAT,
            "policy": asdict(self.config),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            **metadata,
        }
        write_atomically(folder / WEIGHTS_FILE, save(weights))
        write_atomically(folder / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")


def _all_within(observations: np.ndarray, space: spaces.Discrete) -> bool:
    low, size = int(space.start), int(space.n)
    return bool(np.all((observations >= low) & (observations < low + size)))


def load_network_policy(folder: str | Path) -> Policy:
    """Load a policy from a run folder. Nothing in the folder is executed; Ray is not needed.

    Args:
        folder: holds ``policy.safetensors`` and ``policy.json``.

    Raises:
        UserError: if the files are missing or damaged.
    """
    folder = Path(folder)
    for name in (DESCRIPTION_FILE, WEIGHTS_FILE):
        if not (folder / name).exists():
            raise UserError(f"{folder} holds no {name}", "name the folder of a run that has trained, or train it first")
    with damage_of(folder / DESCRIPTION_FILE):
        description = read_description(folder)
        if description["format"] != _FORMAT:
            raise ValueError(f"format {description['format']!r} is not known")
        observation_space = space_from_json(description["observation_space"])
        action_space = space_from_json(description["action_space"])
        kind = type(policy_config(description["policy"]))
        config = described(description, "policy", _SETTINGS[kind])
        check_spaces(observation_space, action_space)
    network = load_module(lambda: ActorCritic(observation_space, action_space, config), folder)
    return Policy(network, observation_space, action_space)
