"""Networks for meta-learning: plain modules ``[K, ...]`` → ``[K, O]``, without state between calls.

Spiking layers run through the library's step loop (``kernel="functional"``): the fused scans have a hand-written first
derivative and no second one.

Legend: K samples of a task, F features, C channels, H height, W width, T simulation steps, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from synrl_ray.snn import LIF, SpikingMLP, Surrogate


def mlp(in_features: int = 1, hidden_sizes: Sequence[int] = (40, 40), out_features: int = 1) -> nn.Sequential:
    """Rectified layers; the default is the sinusoid network of Finn, Abbeel & Levine (2017), arXiv:1703.03400.

    Shape:
        ``[K, F]`` → ``[K, O]``.
    """
    layers: list[nn.Module] = []
    for i, o in pairwise((in_features, *hidden_sizes)):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear((in_features, *hidden_sizes)[-1], out_features))


class ConvBlock(nn.Sequential):
    """3 × 3 convolution, batch norm, rectifier, 2 × 2 max-pool.

    The batch norm is transductive: it always takes the statistics of the samples that it sees, as in MAML.

    Shape:
        ``[K, C, H, W]`` → ``[K, out_channels, H // 2, W // 2]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels, track_running_stats=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )


def conv4(in_shape: tuple[int, int, int] = (1, 28, 28), ways: int = 5, channels: int = 64) -> nn.Sequential:
    """Four convolutional blocks and a linear layer (Vinyals et al. 2016, arXiv:1606.04080; Finn et al. 2017).

    Shape:
        ``[K, C, H, W]`` → logits ``[K, ways]``.

    Raises:
        ValueError: for images of less than 16 × 16, which four halvings do not leave a pixel of.
    """
    size = _size_after_blocks(in_shape)
    blocks = [ConvBlock(c, channels) for c in (in_shape[0], channels, channels, channels)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(channels * size, ways))


class SpikingRegressor(nn.Module):
    """A :class:`synrl_ray.snn.SpikingMLP` that sees each sample for T simulation steps from rest.

    Args:
        in_features, hidden_sizes, out_features: F, neurons of each layer, O.
        steps_per_sample: T.
        gain, hidden_gain, surrogate, beta: as in ``SpikingMLP``. The default gains and the flat surrogate let the inner
            gradient reach all layers: with sharp ones hardly a neuron hears of the loss.

    Shape:
        ``[K, F]`` → ``[K, O]``, the readout's membranes at the end over the sum of its decays: a mean of the spikes
        that weighs later ones more, so that the inner rate does not depend on T.
    """

    def __init__(
        self,
        in_features: int = 1,
        hidden_sizes: Sequence[int] = (40, 40),
        out_features: int = 1,
        *,
        steps_per_sample: int = 8,
        beta: float = 0.9,
        gain: float = 1.0,
        hidden_gain: float = 2.0,
        surrogate: Surrogate | None = None,
    ) -> None:
        super().__init__()
        self.net = SpikingMLP(
            in_features,
            hidden_sizes,
            out_features,
            steps_per_observation=steps_per_sample,
            beta=beta,
            gain=gain,
            hidden_gain=hidden_gain,
            surrogate=surrogate or Surrogate("atan"),
            kernel="functional",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        outputs, _ = self.net(x.unsqueeze(0))
        return torch.as_tensor(outputs.squeeze(0) / self.net.readout.bias_gain)


class SpikingConv4(nn.Module):
    """:func:`conv4` with LIF neurons in place of rectifiers; spikes are pooled, their logits averaged over time.

    The images are a constant current, so the first convolution runs once. Batch norm sees all steps of all samples of
    a task together.

    Args:
        in_shape: C, H, W.
        ways: classes.
        channels: filters of each block.
        num_steps: T.
        beta, surrogate: of the neurons.

    Shape:
        ``[K, C, H, W]`` → logits ``[K, ways]``.

    Raises:
        ValueError: for images of less than 16 × 16, or less than one simulation step.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int] = (1, 28, 28),
        ways: int = 5,
        channels: int = 64,
        *,
        num_steps: int = 4,
        beta: float = 0.9,
        surrogate: Surrogate | None = None,
    ) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        size = _size_after_blocks(in_shape)
        inputs = (in_shape[0], channels, channels, channels)
        self.num_steps = num_steps
        self.convolutions = nn.ModuleList(nn.Conv2d(c, channels, 3, padding=1) for c in inputs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, track_running_stats=False) for _ in inputs)
        self.neurons = nn.ModuleList(
            LIF(beta, surrogate=surrogate or Surrogate("atan"), hold=num_steps if i == 0 else 1, kernel="functional")
            for i in range(len(inputs))
        )
        self.readout = nn.Linear(channels * size, ways)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each image."""
        batch, signal = x.shape[0], x
        for convolution, norm, neuron in zip(self.convolutions, self.norms, self.neurons, strict=True):
            current = norm(convolution(signal))
            spikes, _ = neuron(current.reshape(-1, batch, current[0].numel()))
            signal = nn.functional.max_pool2d(spikes.reshape(-1, *current.shape[1:]), 2)
        features = signal.flatten(1).unflatten(0, (self.num_steps, batch))
        return torch.as_tensor(self.readout(features.mean(0)))


def _size_after_blocks(in_shape: tuple[int, int, int]) -> int:
    """Pixels of a map behind four halvings."""
    _, height, width = in_shape
    if min(height, width) < 16:
        raise ValueError(f"four halvings leave nothing of a {height} x {width} image: 16 x 16 is the least")
    return (height // 16) * (width // 16)
