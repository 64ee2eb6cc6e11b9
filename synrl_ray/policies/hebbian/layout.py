"""What a genome is: the filters, rules or weights of a Hebbian network, one behind the other.

Legend: G genomes, D genes, C coefficients of a rule, O outputs and I inputs of a layer, W synapses of all layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from synrl_ray.envs.flat import FlatSpace, action_mask, flattened
from synrl_ray.errors import UserError
from synrl_ray.policies.images import has_channels_last, image_shape, one_line
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.hebbian import AnnHebbian, SpikingHebbian

HebbianSettings = AnnHebbian | SpikingHebbian
RULE = ("A", "B", "C", "D", "rate")
"""Coefficients of a rule; a spiking network has ``"pairs"`` as well."""


@dataclass(frozen=True)
class HebbianLayout:
    """The shapes of a network.

    Args:
        observation_space, action_space: of a single environment.
        settings: of the network.
        name: of the environment, for messages.

    Raises:
        UserError: for spaces that such a network cannot serve.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> layout = HebbianLayout(env.observation_space, env.action_space, AnnHebbian(hidden_sizes=(16,)))
        >>> layout.sizes, layout.num_synapses, layout.num_genes
        ((4, 16, 2), 96, 480)
    """

    observation_space: gym.Space
    action_space: gym.Space
    settings: HebbianSettings
    name: str = "the environment"

    def __post_init__(self) -> None:
        """Look at the spaces."""
        object.__setattr__(self, "observation_space", flattened(self.observation_space))
        check_spaces(self.observation_space, self.action_space, self.name)
        _check(self.observation_space, self.action_space, self.settings, self.name)
        assert self.sizes

    @property
    def is_spiking(self) -> bool:
        """Whether neurons spike."""
        return isinstance(self.settings, SpikingHebbian)

    @property
    def rule(self) -> tuple[str, ...]:
        """Names of the coefficients of a synapse."""
        return (*RULE, "pairs") if self.is_spiking else RULE

    @cached_property
    def image(self) -> tuple[int, int, int] | None:
        """Channels, height and width of what is convolved."""
        if self.settings.conv_layers is None:
            return None
        return image_shape(self.observation_space, channels_last=has_channels_last(self.observation_space))

    @cached_property
    def maps(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width of what each convolution leaves, behind the pooling."""
        found: list[tuple[int, int, int]] = []
        before = self.image
        for channels, kernel, stride in self.settings.conv_layers or ():
            assert before is not None
            height, width = (((side - kernel) // stride + 1) // self.settings.pool for side in before[1:])
            if min(height, width) < 1:
                kind, number = self.settings.kind, len(found) + 1
                problem = (
                    f"convolution {number} of {kind}.conv_layers leaves nothing of {before[1]} x {before[2]} pixels"
                )
                raise UserError(problem, f"make its kernel, its stride or {kind}.pool smaller")
            before = (channels, height, width)
            found.append(before)
        return tuple(found)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of all fully connected layers, with inputs and outputs."""
        space, actions = self.observation_space, self.action_space
        if self.maps:
            inputs = math.prod(self.maps[-1])
        else:
            inputs = int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape or ())
        outputs = int(actions.n) if isinstance(actions, spaces.Discrete) else math.prod(actions.shape or ())
        return (inputs, *self.settings.hidden_sizes, outputs)

    @cached_property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """``O, I`` of each layer."""
        return tuple(zip(self.sizes[1:], self.sizes[:-1], strict=True))

    @cached_property
    def num_synapses(self) -> int:
        """W."""
        return sum(outputs * inputs for outputs, inputs in self.layers)

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each part of a genome, in order."""
        channels = [self.image[0], *(layer[0] for layer in self.maps)] if self.image else []
        named: dict[str, tuple[int, ...]] = {
            f"filters_{i}": (out, channels[i], kernel, kernel)
            for i, (out, kernel, _) in enumerate(self.settings.conv_layers or ())
        }
        for i, layer in enumerate(self.layers):
            if not self.settings.plastic:
                named[f"weights_{i}"] = layer
            elif self.settings.coefficients == "synapse":
                named[f"coefficients_{i}"] = (len(self.rule), *layer)
            else:
                named[f"coefficients_{i}"] = (len(self.rule),)
        return named

    @cached_property
    def num_genes(self) -> int:
        """D."""
        return sum(map(math.prod, self.parts.values()))

    @property
    def state_size(self) -> int:
        """Numbers that live on from one decision to the next: weights, and traces of spiking networks."""
        if not self.settings.plastic:
            return 0
        return self.num_synapses + (2 * sum(self.sizes) if self.is_spiking else 0)

    @property
    def numbers_per_observation(self) -> int:
        """How many numbers a decision computes."""
        steps = self.settings.steps_per_observation if isinstance(self.settings, SpikingHebbian) else 1
        whole = [] if self.image is None else [self.image, *self.maps]
        return steps * sum(self.sizes) + self.state_size + self.num_synapses + sum(map(math.prod, whole))

    def split(self, genome: np.ndarray) -> dict[str, np.ndarray]:
        """The parts of a genome ``[D]``, as views of it."""
        ends = np.cumsum([math.prod(shape) for shape in self.parts.values()])[:-1]
        parts = np.split(genome, ends)
        return {name: part.reshape(shape) for (name, shape), part in zip(self.parts.items(), parts, strict=True)}

    def rules(self, genome: np.ndarray) -> np.ndarray:
        """The coefficients of each synapse, ``[C, W]``."""
        parts = self.split(genome)
        each = []
        for i, (outputs, inputs) in enumerate(self.layers):
            part = parts[f"coefficients_{i}"].reshape(len(self.rule), -1)
            each.append(np.broadcast_to(part, (len(self.rule), outputs * inputs)))
        return np.concatenate(each, axis=1)

    def weights(self, genome: np.ndarray) -> np.ndarray:
        """The weights of a genome without plasticity, ``[W]``."""
        parts = self.split(genome)
        return np.concatenate([parts[f"weights_{i}"].ravel() for i in range(len(self.layers))])


def _check(observation_space: gym.Space, action_space: gym.Space, settings: HebbianSettings, name: str) -> None:
    is_image = len(observation_space.shape or ()) == 3 and not isinstance(observation_space, FlatSpace)
    shown = f"{name} has the observation space {one_line(observation_space)}"
    if settings.conv_layers is None and not isinstance(observation_space, spaces.Discrete):
        if len(observation_space.shape or ()) != 1:
            remedy = f"set {settings.kind}.conv_layers" if is_image else "wrap the environment so that it gives vectors"
            raise UserError(f"{shown}, and Hebbian layers see vectors", remedy)
    elif settings.conv_layers is not None and not is_image:
        raise UserError(f"{shown}, which is no image for convolutions", f"set {settings.kind}.conv_layers=null")
    if isinstance(observation_space, FlatSpace) and action_mask(observation_space, action_space) is not None:
        raise UserError(f"{shown}, which masks actions", "evolved policies know no masks: wrap the environment")
    is_box = isinstance(action_space, spaces.Box)
    if not (isinstance(action_space, spaces.Discrete) or (is_box and np.isfinite(_span(action_space)).all())):
        problem = f"{name} has the action space {one_line(action_space)}"
        raise UserError(problem, "evolved policies choose Discrete actions, or Box actions between finite bounds")


def _span(space: gym.Space) -> np.ndarray:
    box = cast("spaces.Box", space)
    with np.errstate(over="ignore"):
        span: np.ndarray = box.high - box.low
    return span


class Genome(nn.Module):
    """The parts of a genome as buffers, which is how it lies in a file."""

    def __init__(self, layout: HebbianLayout, genome: np.ndarray | None = None) -> None:
        super().__init__()
        for name, shape in layout.parts.items():
            self.register_buffer(name, torch.empty(shape))
        if genome is not None:
            for name, part in layout.split(genome).items():
                getattr(self, name).copy_(torch.from_numpy(part))

    def vector(self) -> np.ndarray:
        """``[D]``, float32."""
        return np.concatenate([buffer.numpy().ravel() for buffer in self.buffers()])
