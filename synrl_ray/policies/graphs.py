"""Policies as NIR graphs, and graphs that act as policies: with what is done to observations before, and after.

Legend: E environment step, B batch, K simulation steps for each observation, O outputs, S state.
"""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from synrl_ray.envs.flat import flattened
from synrl_ray.policies.actions.table import action_distribution
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.given import observations_from
from synrl_ray.policies.normaliser import BOUND
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.space_files import space_from_json, space_to_json
from synrl_ray.policies.spaces import check_spaces, to_environment
from synrl_ray.settings.checked import from_json
from synrl_ray.settings.policies import PolicyLayout, SpikingPolicy
from synrl_ray.snn.nir import NIRError, Scaling, to_nir
from synrl_ray.snn.nir.preparation import Preparation
from synrl_ray.snn.nir.running import GraphRun, run
from synrl_ray.snn.nir.writing import READOUT, STEPS

_OBSERVATIONS, _ACTIONS, _RESETS = "observation_space", "action_space", "state_is_zeroed_at"
_DISTRIBUTION = "action_distribution"
_OBSERVATION, _EPISODE = "every observation", "an episode's start"


def graph_of(policy: Policy, *, fold: bool = True) -> Any:
    """A spiking policy's actor as a NIR graph, whose metadata says all that is done outside of it.

    Pixels' scale becomes part of the first layer; so does the normaliser of a vector, whose bound the graph then does
    not have. What else is done to observations (an index as one-hot, stacked frames, the bound, codes) is under
    ``preparation``; the spaces, and when the state is zeroed, are there, too.

    Args:
        policy: spiking.
        fold: take the normaliser into the first layer where that can be; else the host normalises.

    Raises:
        NIRError: if the policy does not spike, or does what NIR cannot say.
    """
    network, config = policy.network, policy.config
    if not isinstance(config, SpikingPolicy):
        raise NIRError("the policy does not spike")
    if network.mask is not None:
        raise NIRError("no graph holds a mask of actions, and the policy's observations have one")
    steps, scaling, arrays = _prepared(network, config, fold)
    graph = to_nir(network.bodies[0], scaling, network.num_inputs)
    preparation = Preparation(steps, tuple(policy.observation_space.shape or ()), *arrays)
    graph.metadata |= {
        **preparation.to_metadata(),
        _OBSERVATIONS: json.dumps(space_to_json(policy.observation_space)),
        _ACTIONS: json.dumps(space_to_json(policy.action_space)),
        _DISTRIBUTION: config.action_distribution,
        _RESETS: _EPISODE if config.carry_state else _OBSERVATION,
    }
    return graph


def _prepared(
    network: ActorCritic, config: SpikingPolicy, fold: bool
) -> tuple[list[dict[str, Any]], Scaling | None, list[Any]]:
    """The steps before the graph, what becomes part of its first layer, and the normaliser's arrays."""
    encoder, normaliser = network.encoder, network.normaliser
    steps: list[dict[str, Any]] = []
    scaling: Scaling | None = None
    arrays: list[Any] = []
    if encoder.discrete:
        steps.append({"do": "one_hot", "start": encoder.start, "size": encoder.num_features})
    elif encoder.channels_last:
        steps.append({"do": "channels_first"})
    elif not encoder.keep_shape and encoder.rank != 1:
        steps.append({"do": "flatten"})
    is_last = network.stack is None and config.encoder == "current"
    if encoder.scale != 1:
        if normaliser is None:  # a stack of zeros is the same in any scale
            scaling = Scaling(torch.zeros(()), torch.tensor(float(encoder.scale)))
        else:
            steps.append({"do": "divide", "by": encoder.scale})
    if normaliser is not None:
        if fold and is_last and not encoder.keep_shape:
            scaling = Scaling(normaliser.mean, normaliser.deviation)
        else:
            steps.append({"do": "normalise", "bound": BOUND})
            arrays = [normaliser.mean.double().numpy(), normaliser.deviation.double().numpy()]
    if network.stack is not None:
        steps.append({"do": "stack", "frames": network.stack.size})
    low_high = {"low": config.encoder_low, "high": config.encoder_high}
    if config.encoder == "population":
        width = network.population.width if network.population is not None else 1.0
        steps.append({"do": "population", **low_high, "neurons": config.encoder_neurons, "width": width})
    elif config.encoder == "delta":
        steps.append({"do": "delta", "threshold": config.encoder_threshold})
    elif config.encoder == "latency":
        steps.append({"do": "latency", **low_high, "steps": config.steps_per_observation})
    return steps, scaling, arrays


class GraphPolicy:
    """Acts as a NIR graph says: observations are prepared, the graph is run, its outputs become actions.

    Args:
        graph: as :func:`graph_of` makes it, or another one.
        observation_space, action_space: of a single environment; needed where the metadata does not say them.

    Raises:
        NIRError: for a graph that is not known here, or lacks what has to be known of it.
        UserError: for spaces that no policy serves.
    """

    def __init__(
        self,
        graph: Any,
        observation_space: gym.Space | None = None,
        action_space: gym.Space | None = None,
    ) -> None:
        known = graph.metadata
        self.graph = graph
        self.observation_space = flattened(observation_space or _space(known, _OBSERVATIONS))
        self.action_space = action_space or _space(known, _ACTIONS)
        check_spaces(self.observation_space, self.action_space, "the graph")
        self.distribution = action_distribution(self.action_space, _layout(known))
        self.preparation = Preparation.from_metadata(known)
        self.run = GraphRun(graph)
        self.steps = int(known.get(STEPS, 1))
        self.readout = str(known.get(READOUT, "last"))
        self.from_rest = known.get(_RESETS, _EPISODE) == _OBSERVATION
        self._sizes = [self.preparation.state_size, 0 if self.from_rest else self.run.state_size]

    def initial_state(self, batch: int, /) -> np.ndarray:
        """Zeros ``[B, S]``."""
        return np.zeros((batch, sum(self._sizes)))

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest actions for observations ``[B, *obs]``, and the state ``[B, S]`` after them."""
        if not deterministic:
            raise ValueError("a graph's outputs are its likeliest action: it draws none")
        seen, _ = observations_from(observations, self.observation_space)
        memory, membranes = np.split(state, [self._sizes[0]], axis=1)
        inputs, memory = self.preparation(seen, memory)
        before = None if self.from_rest else torch.from_numpy(membranes)
        _, outputs, after = run(self.run, torch.from_numpy(inputs), before, hold=self.hold)
        kept = [memory] if self.from_rest else [memory, after.numpy()]
        return self.actions(read_out(outputs, self.readout, self.steps)[0]), np.concatenate(kept, axis=1)

    @property
    def hold(self) -> int:
        """For how many steps each prepared input is held."""
        return self.steps if self.preparation.steps_made is None else 1

    def actions(self, outputs: Tensor) -> np.ndarray:
        """What the environment receives for outputs ``[B, O]``."""
        return to_environment(self.action_space, self.distribution.deterministic(outputs).numpy())


def read_out(outputs: Tensor, how: str, steps: int) -> Tensor:
    """The output of each observation ``[E, B, O]``, from those of its simulation steps ``[E*K, B, O]``."""
    parts = outputs.unflatten(0, (-1, steps))
    if how == "max":
        return parts.amax(1)
    return parts.mean(1) if how == "mean" else parts[:, -1]


def _layout(metadata: Any) -> PolicyLayout:
    """What the metadata say of Box actions; before there was a choice, they said nothing."""
    named = str(metadata.get(_DISTRIBUTION, PolicyLayout.action_distribution))
    found: PolicyLayout = from_json(PolicyLayout, {_DISTRIBUTION: named}, "metadata")
    return found


def _space(metadata: Any, name: str) -> gym.Space:
    if name not in metadata:
        raise NIRError(f"the graph does not say its {name}: pass {name}")
    return space_from_json(json.loads(metadata[name]))
