"""What a layer's weights make of the spikes before it: dense products by torch, or sums over lists of spikes.

Maps of neurons are ``[pixels, channels]`` between layers, as torch's convolutions want them on a CPU, so that nothing
has to be sorted. Lists cost in spikes: at an activity of 2 to 6 % a tenth of the dense product, the same at about 40 %.

Legend: R rows, N neurons before the weights, M behind them; P pixels, C channels, O channels behind the weights.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.snn.spike_lists import SpikeLists

# Of R * N. Up to 20 % of activity lists were faster in all layers that were measured (benchmarks/event_driven.py), on
# one thread of torch's; the lists have one, however many torch has.
MOST_FIRED, MOST_NEAR = 0.25, 0.2
FEWEST = 128  # inputs of a fully connected layer
SAMPLED = 4  # of so many rows one says how many neurons are near their thresholds
DTYPES = (torch.float32, torch.float64)  # of the kernels
SMALL_WIDTH = 128  # up to it, and for few rows, a whole network runs in one compiled call


Shape = tuple[int, int, int]  # C, height, width


class Product(Protocol):
    """What all kinds offer. Signals are ``[R, N]`` or lists, currents and their gradients ``[R, M]``.

    ``num_pixels`` is P of what comes in, ``is_map`` whether what goes out is a map.
    """

    kind: type[nn.Module]
    num_pixels: int
    num_biases: int
    weight_shape: tuple[int, ...]
    is_map: bool

    def is_of(self, layer: nn.Module) -> bool:
        """Whether a layer of this kind computes it, as far as the shape of its weights does not say."""

    def takes_lists(self, dtype: torch.dtype) -> bool:
        """Whether there are kernels for its shape."""

    def forward(self, signal: Tensor | SpikeLists, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """The currents."""

    def weight_gradient(self, grad: Tensor, signal: Tensor | SpikeLists, weight: Tensor) -> Tensor:
        """In the shape of the weights."""

    def input_gradient(self, grad: Tensor, weight: Tensor) -> Tensor:
        """``[R, N]``."""

    def near_gradient(self, grad: Tensor, weight: Tensor, near: Near) -> Tensor:
        """``[R, N]``, right where the membranes before the weights are near their thresholds, elsewhere zero."""


class Near:
    """Where a surrogate with compact support has a derivative that is not zero.

    Args:
        membranes: ``[R, N]``.
        threshold: one, or ``[N]``.
        support: half its width.
    """

    def __init__(self, membranes: Tensor, threshold: Tensor, support: float) -> None:
        self.membranes = membranes.numpy()
        self.threshold = np.broadcast_to(threshold.detach().numpy(), self.membranes.shape[1:]).copy()
        self.width = self.membranes.dtype.type(support)

    def is_rare(self) -> bool:
        """Whether so few are near that inner products one by one are faster than a product of matrices."""
        from synrl_ray.snn.event_kernels import share_near

        return share_near(self.membranes, self.threshold, self.width, SAMPLED) * torch.get_num_threads() <= MOST_NEAR


def most_fired() -> float:
    """The share of neurons and steps with a spike up to which lists are faster than torch with its threads."""
    return MOST_FIRED / torch.get_num_threads()


class LinearProduct:
    """Fully connected. Behind a map, the weights' columns are ``[channels, pixels]``, as ``nn.Flatten`` has them.

    Args:
        num_inputs, num_outputs: N, M.
        num_pixels: P of the map, 1 where the neurons are none.
    """

    kind: type[nn.Module] = nn.Linear
    is_map = False

    def __init__(self, num_inputs: int, num_outputs: int, num_pixels: int = 1) -> None:
        self.num_inputs, self.num_outputs, self.num_pixels = num_inputs, num_outputs, num_pixels
        self.weight_shape: tuple[int, ...] = (num_outputs, num_inputs)
        self.num_biases = num_outputs

    def is_of(self, layer: nn.Module) -> bool:
        """Always."""
        return True

    def takes_lists(self, dtype: torch.dtype) -> bool:
        """Whether M is whole vectors, and N is not so small that making the lists costs what they save."""
        from synrl_ray.snn.vectors import fits

        return dtype in DTYPES and self.num_inputs >= FEWEST and fits(self.num_outputs, dtype.itemsize)

    def forward(self, signal: Tensor | SpikeLists, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """The currents."""
        if isinstance(signal, Tensor):
            return torch.mm(self._sorted(signal), weight.t(), out=out)
        from synrl_ray.snn.event_kernels import add_listed

        out = weight.new_empty(len(signal.index), self.num_outputs) if out is None else out
        index, ends = self._relabelled(signal)
        add_listed(index, ends, _rows(weight), out.numpy())
        return out

    def weight_gradient(self, grad: Tensor, signal: Tensor | SpikeLists, weight: Tensor) -> Tensor:
        """In the shape of the weights, laid out as they are."""
        if isinstance(signal, Tensor):
            return (
                torch.mm(self._sorted(signal).t(), grad).t()
                if _is_by_columns(weight)
                else torch.mm(grad.t(), self._sorted(signal))
            )
        from synrl_ray.snn.event_kernels import transpose, weight_gradient

        index, ends = self._relabelled(signal)
        order = np.empty(int(ends[:, -1].sum()), np.int32)
        starts = np.empty(self.num_inputs + 1, np.int64)
        transpose(index, ends, order, starts)
        rows = grad.new_empty(self.num_inputs, self.num_outputs)
        weight_gradient(order, starts, grad.numpy(), rows.numpy())
        return rows.t()

    def input_gradient(self, grad: Tensor, weight: Tensor) -> Tensor:
        """``[R, N]``."""
        signal = torch.mm(grad, weight)
        if self.num_pixels == 1:
            return signal
        return signal.view(len(grad), -1, self.num_pixels).transpose(1, 2).reshape(signal.shape)

    def near_gradient(self, grad: Tensor, weight: Tensor, near: Near) -> Tensor:
        """``[R, N]``, zero where no membrane is near."""
        starts = np.arange(self.num_pixels, dtype=np.int32) * self.num_outputs
        pairs = np.arange(self.num_pixels + 1, dtype=np.int64)
        step = self.num_pixels * self.num_outputs
        return _near_gradient(grad, _rows(weight), near, pairs, np.zeros_like(starts), starts, step)

    def _sorted(self, signal: Tensor) -> Tensor:
        """As the weights want it."""
        if self.num_pixels == 1:
            return signal
        return signal.view(len(signal), self.num_pixels, -1).transpose(1, 2).reshape(signal.shape)

    def _relabelled(self, lists: SpikeLists) -> tuple[np.ndarray, np.ndarray]:
        index, ends = lists.index.numpy(), lists.ends.numpy()
        if self.num_pixels == 1:
            return index, ends
        from synrl_ray.snn.event_kernels import relabel

        relabelled = np.empty_like(index)
        relabel(index, ends, self._names, relabelled)
        return relabelled, ends

    @cached_property
    def _names(self) -> np.ndarray:
        """Of every neuron of the map, its column of the weights."""
        return np.arange(self.num_inputs, dtype=np.int32).reshape(-1, self.num_pixels).T.reshape(-1).copy()


class ConvolutionProduct:
    """Without padding, ``[P, C]`` → ``[P', O]``.

    Args:
        in_shape: C, height and width of the map before it.
        out_shape: of the one behind it.
        kernel, stride: of both directions.
    """

    kind: type[nn.Module] = nn.Conv2d
    is_map = True

    def __init__(self, in_shape: Shape, out_shape: Shape, kernel: int, stride: int) -> None:
        self.in_shape, self.out_shape, self.kernel, self.stride = in_shape, out_shape, kernel, stride
        self.num_pixels = in_shape[1] * in_shape[2]
        self.weight_shape: tuple[int, ...] = (out_shape[0], in_shape[0], kernel, kernel)
        self.num_biases = out_shape[0]

    def is_of(self, layer: nn.Module) -> bool:
        """Whether it has this stride, and neither padding nor gaps nor groups."""
        settings = layer.__dict__
        return (settings["stride"], settings["padding"], settings["dilation"], settings["groups"]) == (
            (self.stride, self.stride), (0, 0), (1, 1), 1
        )  # fmt: skip

    def takes_lists(self, dtype: torch.dtype) -> bool:
        """Whether O is whole vectors."""
        from synrl_ray.snn.vectors import fits

        return dtype in DTYPES and fits(self.out_shape[0], dtype.itemsize)

    def forward(self, signal: Tensor | SpikeLists, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """The currents."""
        if isinstance(signal, Tensor):
            maps = nn.functional.conv2d(self._maps(signal), weight, stride=self.stride)
            return _flattened(maps)
        from synrl_ray.snn.event_kernels import convolve

        index, ends = signal.index, signal.ends
        channels, height, width = self.out_shape
        out = weight.new_empty(len(index), height * width * channels)
        convolve(index.numpy(), ends.numpy(), self._rows(weight), *self._geometry, out.numpy())
        return out

    def weight_gradient(self, grad: Tensor, signal: Tensor | SpikeLists, weight: Tensor) -> Tensor:
        """In the shape of the weights, laid out as they are."""
        if isinstance(signal, Tensor):
            return self._backward(grad, self._maps(signal), weight, 1)
        from synrl_ray.snn.event_kernels import kernel_gradient

        index, ends = signal.index, signal.ends
        channels, size = self.in_shape[0], self.kernel
        rows = grad.new_zeros(size * size * channels, self.out_shape[0])
        kernel_gradient(index.numpy(), ends.numpy(), grad.numpy(), *self._geometry, rows.numpy())
        return rows.view(size, size, channels, -1).permute(3, 2, 0, 1)

    def input_gradient(self, grad: Tensor, weight: Tensor) -> Tensor:
        """``[R, N]``."""
        channels, height, width = self.in_shape
        shape = grad.new_empty(1).as_strided((len(grad), channels, height, width), (0, 0, 0, 0))
        return _flattened(self._backward(grad, shape, weight, 0))

    def near_gradient(self, grad: Tensor, weight: Tensor, near: Near) -> Tensor:
        """``[R, N]``, zero where no membrane is near."""
        tables = _seen_by(self.in_shape, self.out_shape, self.kernel, self.stride)
        return _near_gradient(grad, self._rows(weight), near, *tables, self.out_shape[0])

    @property
    def _geometry(self) -> tuple[int, int, int, int]:
        return self.in_shape[2], self.kernel, self.stride, self.out_shape[2]

    def _maps(self, signal: Tensor) -> Tensor:
        """``[R, C, height, width]``, which is what lies in memory as ``[R, P, C]``."""
        channels, height, width = self.in_shape
        return signal.view(-1, height, width, channels).permute(0, 3, 1, 2)

    def _backward(self, grad: Tensor, maps: Tensor, weight: Tensor, which: int) -> Tensor:
        channels, height, width = self.out_shape
        grads = torch.ops.aten.convolution_backward(
            grad.view(-1, height, width, channels).permute(0, 3, 1, 2), maps, weight, [channels], [self.stride] * 2,
            [0, 0], [1, 1], False, [0, 0], 1, [which == 0, which == 1, False],
        )  # fmt: skip
        wanted: Tensor = grads[which]
        return wanted

    def _rows(self, weight: Tensor) -> np.ndarray:
        return weight.detach().permute(2, 3, 1, 0).reshape(-1, self.out_shape[0]).contiguous().numpy()


def by_columns(layer: nn.Linear) -> None:
    """Lay wide weights out so that those of one input are neighbours, for lists of spikes to be summed without a copy.

    Small ones stay as they are, for a network of these runs in one compiled call, from weights side by side.
    """
    if max(layer.weight.shape) <= SMALL_WIDTH:
        return
    layer.weight.data = layer.weight.data.t().contiguous().t()


def _is_by_columns(weight: Tensor) -> bool:
    return weight.t().is_contiguous()


def _rows(weight: Tensor) -> np.ndarray:
    return weight.detach().t().contiguous().numpy()


def _flattened(maps: Tensor) -> Tensor:
    """``[R, C, height, width]`` → ``[R, P * C]``."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1)


def _near_gradient(
    grad: Tensor, rows: np.ndarray, near: Near, pairs: np.ndarray, g_starts: np.ndarray, starts: np.ndarray, step: int
) -> Tensor:
    from synrl_ray.snn.event_kernels import input_gradient

    out = torch.empty(near.membranes.shape, dtype=grad.dtype, device="cpu")
    input_gradient(
        grad.numpy(), rows, near.membranes, near.threshold, near.width, pairs, g_starts, starts, step, out.numpy()
    )
    return out


@lru_cache(maxsize=64)
def _seen_by(in_shape: Shape, out_shape: Shape, kernel: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which outputs see each pixel, and by which weights, as :func:`event_kernels.input_gradient` wants it."""
    channels, height, width = in_shape
    num_outputs, out_height, out_width = out_shape
    pairs, outputs, weights = [0], [], []
    for y, x in np.ndindex(height, width):
        for at_y in range(max(0, -(-(y - kernel + 1) // stride)), min(out_height - 1, y // stride) + 1):
            for at_x in range(max(0, -(-(x - kernel + 1) // stride)), min(out_width - 1, x // stride) + 1):
                outputs.append((at_y * out_width + at_x) * num_outputs)
                weights.append(((y - at_y * stride) * kernel + x - at_x * stride) * channels * num_outputs)
        pairs.append(len(outputs))
    return np.array(pairs), np.array(outputs, np.int32), np.array(weights, np.int32)
