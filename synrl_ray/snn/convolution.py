"""Convolutional spiking networks for images, and their non-spiking twins.

Legend: E environment step, K simulation steps per observation, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from synrl_ray.snn.fusion import fused_plan
from synrl_ray.snn.listed import called, lists_if_few
from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.networks import (
    Inputs,
    check_inputs,
    check_mask,
    check_state,
    dense,
    dropped,
    floating_type,
    held,
    no_rows,
    scale_weights,
    states_of,
    with_recurrent,
)
from synrl_ray.snn.neurons import LIF
from synrl_ray.snn.norms import Norm, RunningNorm, make_norm, merged, normalised
from synrl_ray.snn.plain import is_plain, is_watched
from synrl_ray.snn.products import ConvolutionProduct, LinearProduct, Product, by_columns, most_fired
from synrl_ray.snn.readouts import Reduction, make_readout, population_of
from synrl_ray.snn.recurrent import Recurrence, Recurrent
from synrl_ray.snn.scan import Kernel, Reset
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.stack import spiking_stack
from synrl_ray.snn.surrogate import Surrogate

ConvLayer = tuple[int, int, int]  # channels, kernel size, stride
Shape = Literal["nature", "small"]
SHAPES: dict[str, tuple[tuple[ConvLayer, ...], int]] = {
    # Mnih et al. (2015), "Human-level control through deep reinforcement learning", doi:10.1038/nature14236
    "nature": (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512),
    "small": (((16, 8, 4), (32, 4, 2)), 256),
}


class SpikingCNN(nn.Module):
    """LIF layers behind convolutions, one fully connected LIF layer, leaky-integrator readout.

    As :class:`synrl_ray.snn.SpikingMLP`: direct encoding, the first convolution runs once per observation, every
    other on all ``K*E*B`` frames at once, and what neurons carry on is one flat state row per batch entry. Frames of
    ``uint8`` are scaled to [0, 1], spikes of it are not. Whether inputs are finite is left to the caller, as there.

    Args:
        in_shape: C, H, W of an observation.
        out_features: readout neurons.
        shape: ``"nature"``, ``"small"``, or the convolutions as (channels, kernel size, stride).
        hidden_size: neurons of the fully connected layer; ``None`` takes the shape's own, 256 for a custom one.
        steps_per_observation, beta, threshold, surrogate, reset, learn_beta, learn_threshold, readout_beta, gain,
            hidden_gain, kernel, neuron, readout, readout_neurons: as in ``SpikingMLP``.
        recurrent: of the fully connected layers.
        norm: as there, but for maps: ``"layer"`` over the whole of each, ``"running"`` for each channel.
        dropout: as there.
        inputs: as there; the lists of an event camera's spikes have a pixel for each of the image's, whose address is
            ``(y * W + x) * C + c``.

    Shape:
        inputs ``[E, B, C, H, W]``, spikes ``[E * K, B, C, H, W]``, state ``[B, state_size]``, reset_mask ``[E, B]``
        → outputs ``[E, B, out_features]``, state ``[B, state_size]``.

    Raises:
        ValueError: for convolutions that do not fit the image, or tensors that do not fit the network.

    Example:
        >>> net = SpikingCNN((1, 12, 12), 3, shape=((4, 4, 2),), hidden_size=8, steps_per_observation=2)
        >>> outputs, state = net(torch.zeros(1, 5, 1, 12, 12))
        >>> tuple(outputs.shape), tuple(state.shape)  # 4 * 5 * 5 + 8 + 3 membranes
        ((1, 5, 3), (5, 111))
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        out_features: int,
        *,
        shape: Shape | Sequence[ConvLayer] = "nature",
        hidden_size: int | None = None,
        steps_per_observation: int = 4,
        beta: float = 0.9,
        threshold: float = 1.0,
        surrogate: Surrogate | None = None,
        reset: Reset = "subtract",
        learn_beta: bool = False,
        learn_threshold: bool = False,
        readout_beta: float = 0.9,
        gain: float = 1.0,
        hidden_gain: float = 1.0,
        kernel: Kernel = "auto",
        neuron: Callable[[], nn.Module] | None = None,
        readout: Reduction = "last",
        readout_neurons: int = 10,
        recurrent: Recurrence = "none",
        norm: Norm = "none",
        dropout: float = 0.0,
        inputs: Inputs = "currents",
    ) -> None:
        super().__init__()
        if steps_per_observation < 1:
            raise ValueError(f"steps_per_observation must be at least 1, got {steps_per_observation}")
        check_inputs(inputs)
        layers, hidden_size = _resolve(shape, hidden_size)
        self.in_shape, self.out_features = in_shape, out_features
        self.steps_per_observation = steps_per_observation
        self.is_fed_spikes = inputs == "spikes"
        self.map_shapes = map_shapes(in_shape, layers)
        flat = [c * h * w for c, h, w in self.map_shapes[1:]]
        self.convolutions = _convolutions(in_shape[0], layers)
        self.linear = nn.Linear(flat[-1], hidden_size)
        full = [hidden_size, *population_of(readout, out_features, readout_neurons)]
        self.population = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(full))
        self.neurons = nn.ModuleList(
            neuron()
            if neuron is not None
            else LIF(
                beta,
                threshold,
                learn_beta=learn_beta,
                learn_threshold=learn_threshold,
                surrogate=surrogate,
                reset=reset,
                hold=steps_per_observation if layer == 0 and not self.is_fed_spikes else 1,
                kernel=kernel,
            )
            for layer in range(len(layers) + len(full))
        )
        if recurrent != "none":
            for layer, size in enumerate(full, len(layers)):
                self.neurons[layer] = Recurrent(self.neurons[layer], size, recurrent)
        self.norms = None
        if norm != "none":
            maps = [make_norm(norm, channels, is_map=True) for channels, _, _ in self.map_shapes[1:]]
            self.norms = nn.ModuleList([*maps, *(make_norm(norm, size) for size in full)])
        self.dropout = dropout
        self.readout = make_readout(
            readout, full[-1], out_features, beta=readout_beta, hold=steps_per_observation, kernel=kernel
        )
        self.state_sizes = [*states_of(self.neurons, [*flat, *full]), self.readout.state_size]
        self.state_size = sum(self.state_sizes)
        scale_weights(self.weights, gain, hidden_gain)
        for linear in (self.linear, *self.population):
            by_columns(cast("nn.Linear", linear))
        self.kernel, self._is_of_lif = kernel, neuron is None
        self.products = _products(self.map_shapes, layers, full)

    def forward(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[E, B, out_features]`` and the state after the last observation."""
        self._check(inputs, state, reset_mask)
        if not inputs.shape[1]:
            return no_rows(self, self.num_observations(inputs), self.out_features, self.state_size)
        # ``fused_plan`` asks some of it again, but after frames were copied.
        is_given = isinstance(inputs, SpikeLists) or inputs.is_cpu
        if self.kernel == "auto" and is_given and not is_watched() and self._is_chain():
            pixels, listed = self._given(inputs)
            fused = fused_plan(self, pixels, state)
            if fused is not None:
                plan, parameters = fused
                if self.norms is not None:
                    parameters = merged(parameters, self.norms)
                return spiking_stack(plan._replace(listed=listed), pixels, state, reset_mask, parameters)
        outputs, state, _ = self.forward_with_spikes(inputs, state, reset_mask)
        return outputs, state

    def forward_with_spikes(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As :meth:`forward`, layer by layer, and the spikes ``[E*K, B, neurons]`` of every spiking layer."""
        self._check(inputs, state, reset_mask)
        frames, (steps, batch) = self._maps(inputs), inputs.shape[:2]
        num_observations = self.num_observations(inputs)
        if state is None:
            state = frames.new_zeros(batch, self.state_size)
        inner_mask = at_first_step(reset_mask, self.steps_per_observation)
        *membranes, readout_membrane = self._by_channels(state).split(self.state_sizes, dim=1)
        signal, mask = frames, reset_mask
        spikes: list[Tensor] = []
        final: list[Tensor] = []
        for layer, (weights, neuron) in enumerate(self._layers()):
            is_fed = self.kernel == "auto" and layer >= len(self.convolutions)
            current = called(weights, signal) if is_fed else weights(signal)
            current = normalised(self.norms, layer, current).reshape(steps, batch, -1)
            if layer == 0 and self.is_fed_spikes:
                mask = inner_mask
            elif layer == 0:
                current, mask = held(neuron, current, mask, self.steps_per_observation)
            out, membrane = neuron(current, membranes[layer], mask)
            spikes.append(out)
            out = dropped(out, self.dropout if self.training else 0.0)
            final.append(membrane)
            mask, steps = inner_mask, num_observations * self.steps_per_observation
            is_map = layer + 1 < len(self.convolutions)
            signal = out.reshape(-1, *self.map_shapes[layer + 1]) if is_map else out.flatten(0, 1)
        outputs, readout_membrane = self.readout(out, readout_membrane, reset_mask)
        return outputs, self._by_pixels(torch.cat((*final, readout_membrane), dim=1)), spikes

    def layer_inputs(
        self, inputs: Tensor | SpikeLists, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with weights, and what it receives: the observations, then spikes of each simulation step."""
        spikes = self.forward_with_spikes(inputs, state, reset_mask)[2]
        signals = [self._maps(inputs)]
        for layer, out in enumerate(spikes):
            is_map = layer + 1 < len(self.convolutions)
            signals.append(out.reshape(-1, *self.map_shapes[layer + 1]) if is_map else out)
        received = list(zip([*self.weights, self.readout.linear], signals, strict=True))
        return with_recurrent(received, self.neurons, spikes, self.state_sizes, state, reset_mask)

    @property
    def weights(self) -> list[nn.Module]:
        """Of all spiking layers."""
        return [*self.convolutions, self.linear, *self.population]

    def _layers(self) -> Iterable[tuple[nn.Module, nn.Module]]:
        return zip(self.weights, self.neurons, strict=True)

    def _is_chain(self) -> bool:
        """Whether the layers are run as written above, and not as a subclass or a replaced method wants it."""
        if self.dropout or (self.norms is not None and not all(is_plain(norm, RunningNorm) for norm in self.norms)):
            return False
        return type(self).forward_with_spikes is _ONE_BY_ONE and "forward_with_spikes" not in self.__dict__

    def _by_pixels(self, state: Tensor) -> Tensor:
        """The state as it is carried on: maps of LIF layers are ``[pixels, channels]``, as in the fused passes."""
        return self._transposed(state, [(channels, -1) for channels, _, _ in self.map_shapes[1:]])

    def _by_channels(self, state: Tensor) -> Tensor:
        """The inverse: as the layers one by one want it."""
        return self._transposed(state, [(-1, channels) for channels, _, _ in self.map_shapes[1:]])

    def _transposed(self, state: Tensor, shapes: Iterable[tuple[int, int]]) -> Tensor:
        if not self._is_of_lif:
            return state
        parts = list(state.split(self.state_sizes, dim=1))
        for i, shape in enumerate(shapes):
            parts[i] = parts[i].unflatten(1, shape).transpose(1, 2).flatten(1)
        return torch.cat(parts, dim=1)

    def num_observations(self, inputs: Tensor | SpikeLists) -> int:
        """E, of what comes in."""
        return inputs.shape[0] // (self.steps_per_observation if self.is_fed_spikes else 1)

    def _given(self, inputs: Tensor | SpikeLists) -> tuple[Tensor, SpikeLists | None]:
        """What comes in as ``[pixels, channels]``, and its lists where these are few; then the first is but a shape."""
        product, dtype = self.products[0], floating_type(self)
        if isinstance(inputs, SpikeLists):
            if product.takes_lists(dtype) and inputs.activity <= most_fired():
                return torch.zeros((), dtype=dtype).expand(inputs.shape), inputs
            return dense(inputs, dtype), None
        pixels = inputs.permute(0, 1, 3, 4, 2).flatten(2)
        pixels = self._frames(pixels, dtype).unflatten(0, inputs.shape[:2])
        if not self.is_fed_spikes or inputs.device.type != "cpu" or not product.takes_lists(dtype):
            return pixels, None
        return pixels, lists_if_few(pixels.detach().flatten(0, 1), product.num_pixels)

    def _maps(self, inputs: Tensor | SpikeLists) -> Tensor:
        """``[E*B, C, H, W]`` in the network's type."""
        dtype = floating_type(self)
        if isinstance(inputs, Tensor):
            return self._frames(inputs, dtype)
        channels, height, width = self.in_shape
        return dense(inputs, dtype).view(-1, height, width, channels).permute(0, 3, 1, 2)

    def _frames(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """``[E, B, ...]`` → ``[E*B, ...]`` in the network's type; bytes are brightness, or spikes."""
        return dense(inputs.flatten(0, 1), dtype) if self.is_fed_spikes else _frames(inputs, dtype)

    def _check(self, inputs: Tensor | SpikeLists, state: Tensor | None, reset_mask: Tensor | None) -> None:
        if isinstance(inputs, Tensor):
            _check_frames(inputs, self.in_shape)
        elif not self.is_fed_spikes:
            raise ValueError("a network takes lists of spikes if it is made with inputs='spikes'")
        elif inputs.shape[2] != math.prod(self.in_shape) or inputs.num_pixels != self.products[0].num_pixels:
            raise ValueError(
                f"lists must be of {self.in_shape[1]} x {self.in_shape[2]} pixels of {self.in_shape[0]} channels, "
                f"got {inputs.num_pixels} pixels of {inputs.shape[2]} neurons in all"
            )
        num_inputs, batch = inputs.shape[:2]
        per = self.steps_per_observation if self.is_fed_spikes else 1
        if num_inputs % per:
            raise ValueError(f"spikes must be of {per} steps for each observation, got {num_inputs} in all")
        check_state(state, (batch, self.state_size))
        check_mask(reset_mask, (self.num_observations(inputs), batch))


_ONE_BY_ONE = SpikingCNN.forward_with_spikes


class CNN(nn.Module):
    """The non-spiking twin: same layers with rectifiers, no time and no state.

    Args:
        in_shape, out_features, shape, hidden_size: as of :class:`SpikingCNN`.
        norm: ``"layer"`` normalises what rectifiers receive, as :class:`SpikingCNN` its currents.

    Shape:
        inputs ``[E, B, C, H, W]`` → outputs ``[E, B, out_features]`` and an empty state ``[B, 0]``.
    """

    state_size = 0

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        out_features: int,
        *,
        shape: Shape | Sequence[ConvLayer] = "nature",
        hidden_size: int | None = None,
        norm: Literal["none", "layer"] = "none",
    ) -> None:
        super().__init__()
        layers, hidden_size = _resolve(shape, hidden_size)
        self.in_shape = in_shape
        self.map_shapes = map_shapes(in_shape, layers)
        channels, height, width = self.map_shapes[-1]
        self.convolutions = _convolutions(in_shape[0], layers)
        self.linear = nn.Linear(channels * height * width, hidden_size)
        self.readout = nn.Linear(hidden_size, out_features)
        self.norms: nn.ModuleList | None = None
        if norm != "none":
            maps = (make_norm(norm, number, is_map=True) for number, _, _ in layers)
            self.norms = nn.ModuleList([*maps, make_norm(norm, hidden_size)])

    @property
    def weights(self) -> list[nn.Module]:
        """Of all layers."""
        return [*self.convolutions, self.linear, self.readout]

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs; ``reset_mask`` has nothing to reset."""
        readout, signal = self.layer_inputs(inputs)[-1]
        outputs = readout(signal).view(*inputs.shape[:2], -1)
        return outputs, outputs.new_zeros(inputs.shape[1], 0)

    def layer_inputs(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with weights, and what it receives."""
        _check_frames(inputs, self.in_shape)
        signal = _frames(inputs, floating_type(self))
        received: list[tuple[nn.Module, Tensor]] = []
        for number, convolution in enumerate(self.convolutions):
            received.append((convolution, signal))
            signal = torch.relu(normalised(self.norms, number, convolution(signal)))
        received.append((self.linear, signal.flatten(1)))
        received.append((self.readout, torch.relu(normalised(self.norms, -1, self.linear(signal.flatten(1))))))
        return received


def layers_of(shape: Shape | Sequence[ConvLayer]) -> Sequence[ConvLayer]:
    """The convolutions of a known set, or those that are listed."""
    return SHAPES[shape][0] if isinstance(shape, str) else shape


def map_shapes(in_shape: tuple[int, int, int], layers: Sequence[ConvLayer]) -> list[tuple[int, int, int]]:
    """C, H, W of the image and behind every convolution.

    Raises:
        ValueError: for a convolution that is larger than what it receives; it is named.
    """
    shapes = [in_shape]
    for number, (channels, size, stride) in enumerate(layers, start=1):
        _, height, width = shapes[-1]
        if min(height, width) < size:
            raise ValueError(f"convolution {number} (kernel {size}) is larger than its input of {height} x {width}")
        shapes.append((channels, (height - size) // stride + 1, (width - size) // stride + 1))
    return shapes


def unseen_borders(in_shape: tuple[int, int, int], layers: Sequence[ConvLayer]) -> list[str]:
    """Which convolutions leave out pixels of what they receive, a line each: there is no padding."""
    told = []
    for number, ((_, height, width), (_, size, stride)) in enumerate(
        zip(map_shapes(in_shape, layers)[:-1], layers, strict=True), start=1
    ):
        rest = (height - size) % stride, (width - size) % stride
        name = f"convolution {number} (kernel {size}, stride {stride})"
        if stride > size:
            told.append(f"{name} steps over pixels of its input of {height} x {width}")
        elif any(rest):
            told.append(f"{name} leaves out {rest[0]} rows and {rest[1]} columns of its input of {height} x {width}")
    return told


def _resolve(shape: Shape | Sequence[ConvLayer], hidden_size: int | None) -> tuple[Sequence[ConvLayer], int]:
    if isinstance(shape, str):
        if shape not in SHAPES:
            raise ValueError(f"unknown shape {shape!r}: choose one of {', '.join(SHAPES)} or list the convolutions")
        layers, own = SHAPES[shape]
        return layers, hidden_size or own
    if not shape:
        raise ValueError("a convolutional network needs at least one convolution")
    return shape, hidden_size or 256


def _convolutions(in_channels: int, layers: Sequence[ConvLayer]) -> nn.ModuleList:
    channels = [in_channels, *(layer[0] for layer in layers)]
    convolutions = [
        nn.Conv2d(i, o, size, stride) for (i, o), (_, size, stride) in zip(pairwise(channels), layers, strict=True)
    ]
    # Weights laid out channels-last make torch convolve so: 5 % on whole networks, up to 27 % on one layer (one core).
    for convolution in convolutions:
        convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    return nn.ModuleList(convolutions)


def _products(
    shapes: Sequence[tuple[int, int, int]], layers: Sequence[ConvLayer], full: Sequence[int]
) -> tuple[Product, ...]:
    """What the weights are to compute."""
    channels, height, width = shapes[-1]
    maps = zip(pairwise(shapes), layers, strict=True)
    return (
        *(ConvolutionProduct(before, behind, size, stride) for (before, behind), (_, size, stride) in maps),
        LinearProduct(channels * height * width, full[0], height * width),
        *(LinearProduct(i, o) for i, o in pairwise(full)),
    )


def _check_frames(inputs: Tensor, in_shape: tuple[int, int, int]) -> None:
    if inputs.dim() != 5 or inputs.shape[0] < 1 or tuple(inputs.shape[2:]) != tuple(in_shape):
        raise ValueError(f"inputs must be [E >= 1, B, {', '.join(map(str, in_shape))}], got {tuple(inputs.shape)}")


def _frames(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """``[E, B, ...]`` → ``[E*B, ...]`` in the network's type."""
    frames = inputs.flatten(0, 1)
    return frames.to(dtype) / 255 if inputs.dtype == torch.uint8 else frames
