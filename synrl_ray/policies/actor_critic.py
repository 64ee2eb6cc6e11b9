"""The network behind every policy: an actor and a critic, spiking or not, on any servable pair of spaces.

Legend: E environment step, B batch, D distribution inputs, S state.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import gymnasium as gym
import torch
from torch import Tensor, nn

from synrl_ray.envs.flat import FlatSpace, action_mask, flattened
from synrl_ray.policies.actions.table import action_distribution
from synrl_ray.policies.frame_stack import FrameStack
from synrl_ray.policies.layers import layer_options, numbers_per_observation
from synrl_ray.policies.normaliser import ObservationNormaliser
from synrl_ray.policies.own_network import OwnNetwork
from synrl_ray.policies.spaces import ObservationEncoder
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.snn import CNN, LIF, MLP, SpikingCNN, SpikingMLP
from synrl_ray.snn.calibration import scale_to_rate
from synrl_ray.snn.encoders import DeltaCode, PopulationCode
from synrl_ray.snn.norms import RunningNorm, measuring
from synrl_ray.snn.rates import rates_of

Body = SpikingMLP | SpikingCNN | MLP | CNN | OwnNetwork


class _Features(NamedTuple):
    """What is seen of observations, ``[E, B, ...]``."""

    plain: Tensor
    """Without a code."""
    of_bodies: tuple[Tensor, Tensor]
    """As the actor's body receives it, and as the critic's does."""


class ActorCritic(nn.Module):
    """Action-distribution inputs and state values from observations.

    Where the observations have a mask of actions, the logits of those that are not allowed are the least number there
    is. What the inputs are, and what actions follow from them, says :attr:`distribution`
    (:mod:`synrl_ray.policies.actions`).

    Args:
        observation_space, action_space: see :func:`synrl_ray.policies.spaces.check_spaces`.
        config: spiking or ann.
        channels_last: how images are read; see :class:`synrl_ray.policies.spaces.ObservationEncoder`.

    Shape:
        observations ``[E, B, *obs]``, state ``[B, S]``, reset_mask ``[E, B]``
        → inputs ``[E, B, D]``, values ``[E, B]``, state ``[B, S]``. S is 0 where no state is carried;
        then every observation starts from rest, and E and B are alike.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PolicyConfig,
        *,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        space = flattened(observation_space)
        self.unflattened = space if isinstance(space, FlatSpace) and space is not observation_space else None
        self.mask = action_mask(space, action_space)
        self.encoder = ObservationEncoder(
            space, keep_shape=config.keeps_shape, channels_last=channels_last, mask=self.mask
        )
        self.distribution = action_distribution(action_space, config)
        num_inputs = self.distribution.num_outputs
        shape = self.encoder.out_shape
        self.normaliser = ObservationNormaliser(shape) if config.normalise_observations else None
        self.stack = FrameStack(shape, config.frame_stack) if config.frame_stack > 1 else None
        if self.stack is not None:
            shape = self.stack.stacked_shape
        self.delta: DeltaCode | None = None
        self.population: PopulationCode | None = None
        seen = shape if config.conv_layers else (math.prod(shape),)
        if isinstance(config, SpikingPolicy):
            if config.encoder == "delta":
                self.delta = DeltaCode(shape[0], config.encoder_threshold)
                shape = (2 * shape[0],)
            elif config.encoder == "population":
                self.population = PopulationCode(config.encoder_low, config.encoder_high, config.encoder_neurons)
                shape = (config.encoder_neurons * shape[0],)
        self.plain_critic = isinstance(config, SpikingPolicy) and config.critic == "ann"
        bodies = [make_body(config, shape, num_inputs + 1 if config.share_layers else num_inputs)]
        if self.plain_critic:
            layers = AnnPolicy(hidden_sizes=config.hidden_sizes, conv_layers=config.conv_layers)
            bodies.append(make_body(layers, seen, 1))
        elif not config.share_layers:
            bodies.append(make_body(config, shape, 1))
        self.bodies = nn.ModuleList(bodies)
        if isinstance(config, SpikingPolicy):
            for layer in config.homeostatic_layers:
                _give_each_its_threshold(cast("SpikingMLP", bodies[0]).neurons[layer], config.hidden_sizes[layer])
        self.num_inputs = num_inputs
        self.num_distribution_inputs = self.distribution.num_inputs
        num_free = self.distribution.num_free
        self.log_std = nn.Parameter(torch.zeros(num_free)) if num_free else None
        self.carry_membranes = isinstance(config, SpikingPolicy) and config.carry_state
        self.body_state_sizes = [body.state_size if self.carry_membranes else 0 for body in bodies]
        self.memory_sizes = [memory.state_size for memory in (self.stack, self.delta) if memory is not None]
        self.state_size = sum(self.memory_sizes) + sum(self.body_state_sizes)
        self._num_coded = math.prod(shape) if self.delta or self.population else 0

    def forward(
        self, observations: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return distribution inputs, values and the state after the last environment step."""
        return self._run(observations, state, reset_mask, None)

    def with_rates(
        self, observations: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`forward`, layer by layer, and spikes in each neuron and simulation step of an observation
        ``[E, B, L]``: of the L spiking layers of the actor, then of a critic of its own, with their gradients."""
        rates: list[Tensor] = []
        inputs, values, after = self._run(observations, state, reset_mask, rates)
        found = [layers.reshape(*values.shape, layers.shape[-1]) for layers in rates]
        return inputs, values, after, torch.cat(found, dim=-1) if found else values.new_zeros(*values.shape, 0)

    def _run(
        self, observations: Tensor, state: Tensor | None, reset_mask: Tensor | None, rates: list[Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The pass; where ``rates`` is a list, each body's are put there."""
        features, states, kept = self._prepare(observations, state, reset_mask)
        received = features.of_bodies[: len(self.bodies)]
        if self.carry_membranes:
            runs = zip(self.bodies, received, states, strict=True)
            results = [_passed(body, inputs, before, reset_mask, rates) for body, inputs, before in runs]
            outputs = [out for out, _ in results]
            kept += [after for _, after in results]
        else:
            outputs = [_from_rest(body, inputs, rates) for body, inputs in zip(self.bodies, received, strict=True)]
        merged = torch.cat(outputs, dim=-1)
        after = torch.cat(kept, dim=1) if kept else merged.new_zeros(merged.shape[1], 0)
        inputs = self._completed(merged[..., : self.num_inputs], observations)
        return inputs, merged[..., self.num_inputs], after

    @property
    def numbers_per_observation(self) -> int:
        """How many numbers are computed for one observation, those of its stack and its code included."""
        bodies = sum(numbers_per_observation(body) for body in self.bodies)
        return self.encoder.num_features + sum(self.memory_sizes) + self._num_coded + bodies

    def measure(self, observations: Tensor) -> None:
        """Let the normaliser, if there is one, see observations ``[n, *obs]``."""
        if self.normaliser is not None:
            self.normaliser.update(self.encoder(observations))

    @property
    def measures_currents(self) -> bool:
        """Whether any layer normalises its currents by running moments."""
        return any(isinstance(module, RunningNorm) for module in self.modules())

    @torch.no_grad()
    def measure_currents(self, observations: Tensor, state: Tensor) -> None:
        """Let these layers, the first one first, see what observations ``[n, *obs]`` after states ``[n, S]`` bring."""
        with measuring(self):
            self(observations.unsqueeze(0), state)

    @torch.no_grad()
    def firing_rates(self, observations: Tensor, state: Tensor) -> list[float]:
        """Spikes in each neuron and simulation step of every spiking layer of the actor; none where it does not spike.

        Args:
            observations, state: ``[n, *obs]``, ``[n, S]``.
        """
        body = self.bodies[0]
        if not isinstance(body, SpikingMLP | SpikingCNN | OwnNetwork):
            return []
        inputs, before = self.actor_inputs(observations, state)
        return [spikes.mean().item() for spikes in body.forward_with_spikes(inputs, before)[2]]

    @torch.no_grad()
    def calibrate(self, rate: float, observations: Tensor, starts: Tensor) -> list[tuple[float, ...]]:
        """Scale the weights of every spiking layer so that it fires at a rate, after episodes have started.

        Running moments of currents are measured on the way.

        Args:
            rate: between 0 and 1.
            observations, starts: sequences ``[E, B, *obs]`` and where in them episodes start ``[E, B]``.

        Returns:
            The factor of each layer, of the actor and of a spiking critic.
        """
        features = self._prepare(observations, None, starts)[0].of_bodies[0]
        mask = starts if self.carry_membranes else None
        features = features if self.carry_membranes else features.flatten(0, 1).unsqueeze(0)
        spiking = [body for body in self.bodies if isinstance(body, SpikingMLP | SpikingCNN)]
        with measuring(self):
            return [scale_to_rate(body, features, mask, rate) for body in spiking]

    @property
    def is_separable(self) -> bool:
        """Whether actor and critic run one without the other: no state, no shared layers."""
        return self.state_size == 0 and len(self.bodies) == 2

    def actor(self, observations: Tensor) -> Tensor:
        """Distribution inputs ``[E, B, D]`` of a separable network alone."""
        features = self._prepare(observations, None, None)[0].of_bodies[0]
        return self._completed(_from_rest(self.bodies[0], features), observations)

    def critic(self, observations: Tensor) -> Tensor:
        """Values ``[E, B]`` of a separable network alone."""
        features = self._prepare(observations, None, None)[0].of_bodies[1]
        return _from_rest(self.bodies[1], features).squeeze(-1)

    def actor_inputs(self, observations: Tensor, state: Tensor, *, coded: bool = True) -> tuple[Tensor, Tensor | None]:
        """What the actor's body receives for one observation ``[B, *obs]`` after the state ``[B, S]``.

        Args:
            observations, state: before the decision.
            coded: as the policy's encoder has it; else what a network without one would receive.

        Returns:
            Its inputs ``[1, B, ...]`` and its state, ``None`` where it starts from rest.
        """
        features, states, _ = self._prepare(observations.unsqueeze(0), state, None)
        return features.of_bodies[0] if coded else features.plain, states[0] if self.carry_membranes else None

    def actor_spikes(self, observations: Tensor, state: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """What a spiking actor does, within an episode, for observations ``[E, B, *obs]`` after a state ``[B, S]``.

        Returns:
            Spikes ``[E, K, B, N]`` of each layer, outputs ``[E, B, O]`` without a value, and the state after them, of
            which the critic's part has not changed.
        """
        found, states, kept = self._prepare(observations, state, None)
        features, body = found.of_bodies[0], cast("SpikingMLP", self.bodies[0])
        num_steps = len(features)
        if self.carry_membranes:
            outputs, after, spikes = body.forward_with_spikes(features, states[0])
            kept += [after, *cast("list[Tensor]", states[1:])]
            spikes = [layer.unflatten(0, (num_steps, -1)) for layer in spikes]
        else:
            outputs, _, spikes = body.forward_with_spikes(features.flatten(0, 1).unsqueeze(0))
            outputs = outputs.view(*features.shape[:2], -1)
            spikes = [layer.unflatten(1, (num_steps, -1)).transpose(0, 1) for layer in spikes]
        return spikes, outputs[..., : self.num_inputs], torch.cat(kept, dim=1) if kept else state

    def _prepare(
        self, observations: Tensor, state: Tensor | None, reset_mask: Tensor | None
    ) -> tuple[_Features, list[Tensor | None], list[Tensor]]:
        """What the bodies receive, their states, and what else is carried on."""
        features = self.encoder(observations)
        if self.normaliser is not None:
            features = self.normaliser(features)
        sizes = [*self.memory_sizes, *self.body_state_sizes]
        states = [None] * len(sizes) if state is None else list(state.split(sizes, dim=1))
        kept: list[Tensor] = []
        if self.stack is not None:
            features, frames = self.stack(features, states.pop(0), reset_mask)
            kept.append(frames)
        coded = features
        if self.delta is not None:
            coded, last = self.delta(features, states.pop(0), reset_mask)
            kept.append(last)
        if self.population is not None:
            coded = self.population(features)
        seen = coded
        if self.plain_critic:
            seen = features if self.config.conv_layers else features.reshape(*features.shape[:2], -1)
        return _Features(features, (coded, seen)), states, kept

    def masked(self, outputs: Tensor, observations: Tensor) -> Tensor:
        """Logits or values ``[..., A]``, and the least number where observations ``[..., *obs]`` forbid an action."""
        if self.mask is None:
            return outputs
        return torch.where(self.mask.allowed(observations), outputs, torch.finfo(outputs.dtype).min)

    def _completed(self, outputs: Tensor, observations: Tensor) -> Tensor:
        return self.masked(self.distribution.complete(outputs, self.log_std), observations)


def _give_each_its_threshold(neurons: nn.Module, number: int) -> None:
    """Make thresholds that may become different of the one that the neurons of a layer share."""
    assert isinstance(neurons, LIF)
    neurons.threshold = neurons.threshold.expand(number).clone()


def _from_rest(body: nn.Module, features: Tensor, rates: list[Tensor] | None = None) -> Tensor:
    """Outputs ``[E, B, O]``, every observation on its own."""
    outputs, _ = _passed(body, features.flatten(0, 1).unsqueeze(0), None, None, rates)
    return outputs.view(*features.shape[:2], -1)


def _passed(
    body: nn.Module, inputs: Tensor, state: Tensor | None, reset_mask: Tensor | None, rates: list[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Outputs and state; where ``rates`` is a list, the rates ``[E, B, L]`` of the body's spiking layers go there."""
    if rates is None or not isinstance(body, SpikingMLP | SpikingCNN):
        found: tuple[Tensor, Tensor] = body(inputs, state, reset_mask)
        return found
    outputs, after, spikes = body.forward_with_spikes(inputs, state, reset_mask)
    rates.append(rates_of(spikes, len(inputs)))
    return outputs, after


def make_body(config: PolicyConfig, shape: tuple[int, ...], out_features: int) -> Body:
    """One network from observations of that shape, spiking or not, fully connected or convolutional, or a user's own.

    Raises:
        UserError: for a network of the user's that cannot be used.
        ValueError: for convolutions on what is no image, more than one hidden layer behind them, or a stride that
            does not fit.
    """
    if isinstance(config, SpikingPolicy) and config.network is not None:
        return OwnNetwork(config, shape, out_features)
    if config.conv_layers is None:
        (in_features,) = shape
        if isinstance(config, AnnPolicy):
            return MLP(in_features, config.hidden_sizes, out_features, config.activation, config.norm)
        return SpikingMLP(
            in_features,
            config.hidden_sizes,
            out_features,
            gain=config.input_gain,
            hidden_gain=config.hidden_gain,
            skip=config.skip,
            latency=(config.encoder_low, config.encoder_high) if config.encoder == "latency" else None,
            **layer_options(config),
        )
    if len(config.hidden_sizes) != 1:
        raise ValueError(f"convolutions are followed by one hidden layer, got hidden_sizes {config.hidden_sizes}")
    if len(shape) != 3:
        raise ValueError(f"convolutions need images [C, H, W], got observations of shape {shape}")
    image, (hidden_size,) = shape, config.hidden_sizes
    if isinstance(config, AnnPolicy):
        network = CNN(image, out_features, shape=config.conv_layers, hidden_size=hidden_size, norm=config.norm)
        _keep_norms(network)
        return network
    return SpikingCNN(
        image,
        out_features,
        shape=config.conv_layers,
        hidden_size=hidden_size,
        gain=config.input_gain,
        hidden_gain=config.hidden_gain,
        **layer_options(config),
    )


def _keep_norms(network: CNN) -> None:
    """Orthogonal weights that keep a signal's norm through rectifiers (Saxe et al. 2014, arXiv:1312.6120).

    The few pixels that matter in an image hardly reach the outputs through torch's own, smaller initial weights.
    """
    with torch.no_grad():
        for layer in (*network.convolutions, network.linear):
            layer.weight.copy_(nn.init.orthogonal_(torch.empty(layer.weight.shape), 2**0.5))
            layer.bias.zero_()
