"""Policies as NIR graphs, and graphs that act as policies: with what is done to observations before, and after.

Legend: E environment step, B batch, K simulation steps for each observation, O outputs, S state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.envs.flat import flattened
from synrl_ray.policies.actions.table import action_distribution
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.given import observations_from
from synrl_ray.policies.normaliser import BOUND, LEAST_VARIANCE
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.space_files import space_from_json, space_to_json
from synrl_ray.policies.spaces import check_spaces, to_environment
from synrl_ray.settings.checked import from_json
from synrl_ray.settings.policies import PolicyLayout, SpikingPolicy
from synrl_ray.snn.convolution import SpikingCNN
from synrl_ray.snn.networks import SpikingMLP
from synrl_ray.snn.neurons import LIF, LeakyReadout
from synrl_ray.snn.nir import NIRError, Scaling, from_nir, to_nir
from synrl_ray.snn.nir.preparation import Preparation
from synrl_ray.snn.nir.running import GraphRun, run
from synrl_ray.snn.nir.writing import READOUT, STEPS
from synrl_ray.snn.synaptic import Synaptic

_OBSERVATIONS, _ACTIONS, _RESETS = "observation_space", "action_space", "state_is_zeroed_at"
_DISTRIBUTION, _DEVIATIONS = "action_distribution", "state_dependent_std"
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
        _DEVIATIONS: config.state_dependent_std,
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
            arrays = [normaliser.mean.double().numpy(), (normaliser.variance.double() + LEAST_VARIANCE).sqrt().numpy()]
    if network.stack is not None:
        steps.append({"do": "stack", "frames": network.stack.size})
    low_high = {"low": config.encoder_low, "high": config.encoder_high}
    if config.encoder == "population":
        width = network.population.width if network.population is not None else 1.0
        steps.append({"do": "population", **low_high, "neurons": config.encoder_neurons, "width": width})
    elif config.encoder == "delta":
        steps.append({"do": "send_on_delta", "threshold": config.encoder_threshold})
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


def policy_from_nir(
    graph: Any, observation_space: gym.Space | None = None, action_space: gym.Space | None = None
) -> Policy:
    """A policy whose actor is the network of a graph: acts, is saved and trained as others are. Its critic is new.

    Args:
        graph: that :func:`synrl_ray.snn.nir.from_nir` reads, of neurons that share their parameters within a layer.
            Without the metadata of :func:`graph_of` it takes observations as they are, and keeps its state within an
            episode.
        observation_space, action_space: of a single environment; needed where the metadata do not say them.

    Raises:
        NIRError: for any other graph, or one that does not fit the spaces.
        UserError: for spaces that no policy serves.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> config = SpikingPolicy(hidden_sizes=(8,), carry_state=True)
        >>> spaces = env.observation_space, env.action_space
        >>> policy = Policy(ActorCritic(*spaces, config), *spaces)
        >>> policy_from_nir(graph_of(policy)).config.carry_state
        True
    """
    acting, net = GraphPolicy(graph, observation_space, action_space), from_nir(graph)
    steps = {step["do"]: step for step in acting.preparation.steps}
    config = _config_of(net, acting, steps)
    network = ActorCritic(acting.observation_space, acting.action_space, config)
    found, actor = net.state_dict(), network.bodies[0]
    first = "linears.0.weight" if isinstance(net, SpikingMLP) else "convolutions.0.weight"
    if "divide" not in steps:
        found[first] = found[first] * network.encoder.scale  # which was folded, and is the encoder's here
    try:
        actor.load_state_dict(found)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise NIRError(f"the graph's actor is none of a policy on these spaces: {reason}") from error
    if network.normaliser is not None:
        normaliser, preparation = network.normaliser, acting.preparation
        normaliser.mean.copy_(torch.as_tensor(preparation.mean))
        normaliser.variance.copy_(torch.as_tensor(preparation.deviation) ** 2 - LEAST_VARIANCE)
        normaliser.count.fill_(1)
    return Policy(network, acting.observation_space, acting.action_space)


def _config_of(net: SpikingMLP | SpikingCNN, acting: GraphPolicy, steps: dict[str, Any]) -> SpikingPolicy:
    """The settings by which such a network is made."""
    membranes = [layer.membrane if isinstance(layer, Synaptic) else layer for layer in net.neurons]
    resets = {cast("LIF", layer).reset for layer in membranes}
    kinds = {type(layer) for layer in net.neurons}
    if len(resets) != 1 or len(kinds) != 1:
        raise NIRError("layers have different neurons, and those of a policy have the same")
    readout: Any = net.readout
    settings: dict[str, Any] = {
        "steps_per_observation": net.steps_per_observation,
        "reset": resets.pop(),
        "neuron": "synaptic" if kinds == {Synaptic} else "lif",
        "readout": acting.readout,
        "readout_beta": readout.beta if isinstance(readout, LeakyReadout) else float(readout.integrator.beta),
        "carry_state": not acting.from_rest,
        "normalise_observations": "normalise" in steps,
        "frame_stack": int(steps.get("stack", {}).get("frames", 1)),
        **{name: getattr(_layout(acting.graph.metadata), name) for name in (_DISTRIBUTION, _DEVIATIONS)},
    }
    if isinstance(net, SpikingCNN):
        settings["hidden_sizes"] = (net.linear.out_features,)
        settings["conv_layers"] = tuple(
            (layer.out_channels, layer.kernel_size[0], layer.stride[0])
            for layer in cast("Sequence[nn.Conv2d]", net.convolutions)
        )
    else:
        settings["hidden_sizes"] = tuple(layer.out_features for layer in cast("Sequence[nn.Linear]", net.linears))
    for name, code in (("population", "population"), ("latency", "latency"), ("send_on_delta", "delta")):
        if name in steps:
            names = {"low": "encoder_low", "high": "encoder_high", "neurons": "encoder_neurons"}
            names |= {"threshold": "encoder_threshold"}
            settings["encoder"] = code
            settings |= {names[key]: value for key, value in steps[name].items() if key in names}
    return SpikingPolicy(**settings)


def read_out(outputs: Tensor, how: str, steps: int) -> Tensor:
    """The output of each observation ``[E, B, O]``, from those of its simulation steps ``[E*K, B, O]``."""
    parts = outputs.unflatten(0, (-1, steps))
    if how == "max":
        return parts.amax(1)
    return parts.mean(1) if how == "mean" else parts[:, -1]


def _layout(metadata: Any) -> PolicyLayout:
    """What the metadata say of Box actions; before there was a choice, they said nothing."""
    named = str(metadata.get(_DISTRIBUTION, PolicyLayout.action_distribution))
    deviate = metadata.get(_DEVIATIONS, PolicyLayout.state_dependent_std)
    deviate = deviate.item() if isinstance(deviate, np.generic) else deviate  # files give NumPy's
    found: PolicyLayout = from_json(PolicyLayout, {_DISTRIBUTION: named, _DEVIATIONS: deviate}, "metadata")
    return found


def _space(metadata: Any, name: str) -> gym.Space:
    if name not in metadata:
        raise NIRError(f"the graph does not say its {name}: pass {name}")
    return space_from_json(json.loads(metadata[name]))
