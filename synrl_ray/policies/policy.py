"""A trained policy that acts without Ray, and its files: safetensors for weights, JSON for the rest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from synrl_ray.envs.flat import flattened
from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.description import Description, damage_of, read_description
from synrl_ray.policies.given import InputError, observations_from, states_from
from synrl_ray.policies.layers import require_bounded
from synrl_ray.policies.space_files import space_from_json, space_to_json
from synrl_ray.policies.spaces import check_codes, check_spaces, to_environment
from synrl_ray.policies.weights import load_module, save_module
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy, policy_config, require_known_code
from synrl_ray.snn.plain import is_plain

_FORMAT = 1
_CHANNELS_LAST = "channels_last"  # absent in files of before there was a choice, whose images were read as they came


class Policy:
    """Acts on numpy observations, one or a batch.

    Args:
        network: the trained network.
        observation_space, action_space: of a single environment. Observations of several parts are taken as the
            environment gives them, or flat.

    Example:
        >>> from synrl_ray.settings.policies import AnnPolicy
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
        self.observation_space = flattened(observation_space)
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
        observation: Any,
        state: Any = None,
        *,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose actions.

        Args:
            observation: ``[*obs]`` or ``[N, *obs]``, numbers of any type; N may be 0.
            state: what the previous call returned, ``None`` at an episode's start.
            deterministic: the distribution's one greedy action (:mod:`synrl_ray.policies.actions`), or a sample.
            generator: source of randomness of the sample.

        Returns:
            The action as the environment takes it, and the state for the next call; batched as the observation.

        Raises:
            InputError: if observation or state are no numbers of their spaces, or of another shape, or actions are
                masked and none is allowed; a ``ValueError``.
            NonFiniteError: if observation, state or what the network makes of them hold NaN or infinity.
        """
        batch, single = observations_from(observation, self.observation_space)
        given = self.initial_state(len(batch)) if state is None else state
        state_NS = states_from(given, len(batch), self.network.state_size)
        if not len(batch):
            actions = np.zeros((0, *(self.action_space.shape or ())), np.int64)
            return to_environment(self.action_space, actions), state_NS
        mask = self.network.mask
        if mask is not None and mask.forbids_all(batch).any():
            problem = "observation has an action_mask that allows no action"
            raise InputError(problem, "allow one, or terminate the episode")
        with torch.no_grad():
            inputs, after = self._forward(torch.from_numpy(batch)[None], state_NS)
            if not (np.isfinite(inputs.numpy()).all() and np.isfinite(after).all()):
                raise NonFiniteError("the policy's output", "for these observations", "check their scale")
            distribution = self.network.distribution
            if deterministic:
                chosen = distribution.deterministic(inputs[0])
            else:
                chosen, _ = distribution.sample(inputs[0], generator)
        actions = to_environment(self.action_space, chosen.numpy())
        return (actions[0], after[0]) if single else (actions, after)

    def _forward(self, observations: Tensor, state: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Distribution inputs ``[1, N, D]`` and the state ``[N, S]``; a critic that neither depends on is left out."""
        if self.network.is_separable and is_plain(self.network, ActorCritic):  # nobody waits for its call
            return self.network.actor(observations), state
        inputs, _, after = self.network(observations, torch.from_numpy(state))
        return inputs, after.numpy()

    def save(self, folder: Path, **metadata: Any) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` (with ``metadata`` in it), each atomically."""
        description = {
            "format": _FORMAT,
            "policy": asdict(self.config),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            **({_CHANNELS_LAST: True} if self.network.encoder.channels_last else {}),
            **metadata,
        }
        save_module(self.network, folder, description)


def load_network_policy(folder: str | Path | Description) -> Policy:
    """Load a policy from a run folder. Nothing in the folder is executed; Ray is not needed.

    Args:
        folder: holds ``policy.safetensors`` and ``policy.json``.

    Raises:
        UserError: if the files are missing or damaged, code observations as it was done once, or name a network of a
            user's own, and the description is not trusted.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(_FORMAT)
        observation_space = space_from_json(description["observation_space"])
        action_space = space_from_json(description["action_space"])
        require_known_code(description["policy"])
        config = policy_config(description["policy"], "policy")
        check_spaces(observation_space, action_space)
        check_codes(observation_space, config)
        channels_last = description.get(_CHANNELS_LAST) is True
    own = config.network if isinstance(config, SpikingPolicy) else None
    if own is not None and not description.trusted:
        problem = f"{description.file} asks to import {own!r}, which would be executed"
        raise UserError(problem, "if you trust whoever made it, load it with trust=True")

    def make() -> ActorCritic:
        network = ActorCritic(observation_space, action_space, config, channels_last=channels_last)
        require_bounded(network.numbers_per_observation)
        return network

    return Policy(load_module(make, description.folder, meta=own is None), observation_space, action_space)
