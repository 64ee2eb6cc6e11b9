"""Networks for meta-learning: plain modules ``[K, ...]`` → ``[K, O]``, without state between calls.

Legend: K samples of a task, F features, C channels, H height, W width, T simulation steps, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from synrl_ray.meta.spiking_layers import SampleLIF, StepMean
from synrl_ray.snn import Surrogate
from synrl_ray.snn.encoders import PopulationCode
from synrl_ray.snn.networks import scale_weights


def mlp(
    in_features: int = 1,
    hidden_sizes: Sequence[int] = (40, 40),
    out_features: int = 1,
    *,
    code: PopulationCode | None = None,
) -> nn.Sequential:
    """Rectified layers; the default is the sinusoid network of Finn, Abbeel & Levine (2017), arXiv:1703.03400.

    Args:
        in_features, hidden_sizes, out_features: F, units of each layer, O.
        code: what the first layer sees in place of the bare features.

    Shape:
        ``[K, F]`` → ``[K, O]``.
    """
    layers: list[nn.Module] = []
    sizes = _coded_sizes(in_features, hidden_sizes, code)
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*([code] if code else []), *layers, nn.Linear(sizes[-1], out_features))


class ConvBlock(nn.Sequential):
    """3 × 3 convolution, batch norm, rectifier, 2 × 2 max-pool.

    The batch norm is transductive: it takes the statistics of the samples that it sees, as in MAML. By
    ``query_statistics="support"`` of :class:`synrl_ray.settings.maml.Maml` queries are normalised by the support set.

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


def conv4(
    in_shape: tuple[int, int, int] = (1, 28, 28), ways: int = 5, channels: int | Sequence[int] = 64
) -> nn.Sequential:
    """Four convolutional blocks and a linear layer (Vinyals et al. 2016, arXiv:1606.04080; Finn et al. 2017).

    Args:
        in_shape: C, H, W.
        ways: classes.
        channels: filters of the four blocks, or of each of them.

    Shape:
        ``[K, C, H, W]`` → logits ``[K, ways]``.

    Raises:
        ValueError: for images of less than 16 × 16, which four halvings do not leave a pixel of, or filters of another
            number of blocks.
    """
    sizes = _block_sizes(in_shape, channels)
    blocks = [ConvBlock(i, o) for i, o in pairwise(sizes)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(sizes[-1] * _pixels_after_blocks(in_shape), ways))


def spiking_mlp(
    in_features: int = 1,
    hidden_sizes: Sequence[int] = (40, 40),
    out_features: int = 1,
    *,
    num_steps: int = 8,
    beta: float = 0.9,
    gain: float = 1.0,
    hidden_gain: float = 2.0,
    surrogate: Surrogate | None = None,
    code: PopulationCode | None = None,
) -> nn.Sequential:
    """LIF layers that see each sample as a constant current from rest, and a leaky readout.

    The readout is the membrane of a leaky integrator at the end over the sum of its decays: a mean of the spikes that
    weighs later ones more, so that the inner rate does not depend on the number of steps.

    Args:
        in_features, hidden_sizes, out_features: F, neurons of each layer, O.
        num_steps: T.
        beta: decay of neurons and readout.
        gain, hidden_gain: scale of the initial weights of the first layer, and of those behind it. The default gains
            and the flat surrogate let the inner gradient reach all layers: with sharp ones hardly a neuron hears of the
            loss.
        surrogate: of the neurons; atan if not given.
        code: what makes currents of the features; without it they are the currents.

    Shape:
        ``[K, F]`` → ``[K, O]``.

    Raises:
        ValueError: for less than one step.
    """
    layers: list[nn.Module] = []
    sizes = _coded_sizes(in_features, hidden_sizes, code)
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), SampleLIF(num_steps, holds=not layers, beta=beta, surrogate=surrogate)]
    scale_weights(layers[::2], gain, hidden_gain)
    readout = nn.Linear(sizes[-1], out_features)
    return nn.Sequential(*([code] if code else []), *layers, StepMean(num_steps, beta), readout)


class ConvCurrent(nn.Sequential):
    """3 × 3 convolution, batch norm, 2 × 2 max-pool: the input current of spiking neurons.

    Shape:
        ``[K, C, H, W]`` → ``[K, out_channels, H // 2, W // 2]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels, track_running_stats=False),
            nn.MaxPool2d(2),
        )


def spiking_conv4(
    in_shape: tuple[int, int, int] = (1, 28, 28),
    ways: int = 5,
    channels: int | Sequence[int] = 64,
    *,
    num_steps: int = 4,
    beta: float = 0.9,
    surrogate: Surrogate | None = None,
) -> nn.Sequential:
    """:func:`conv4` with LIF neurons in place of rectifiers, behind the pooling; logits of the mean spikes.

    The images are a constant current, so the first convolution runs once. Batch norm sees all steps of all samples
    of a task together, as in :class:`ConvBlock`.

    Args:
        in_shape: C, H, W.
        ways: classes.
        channels: filters of the four blocks, or of each of them.
        num_steps: T.
        beta, surrogate: of the neurons.

    Shape:
        ``[K, C, H, W]`` → logits ``[K, ways]``.

    Raises:
        ValueError: as :func:`conv4`, or for less than one simulation step.
    """
    sizes = _block_sizes(in_shape, channels)
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [ConvCurrent(i, o), SampleLIF(num_steps, holds=not layers, beta=beta, surrogate=surrogate)]
    features = sizes[-1] * _pixels_after_blocks(in_shape)
    return nn.Sequential(*layers, nn.Flatten(), StepMean(num_steps), nn.Linear(features, ways))


def _block_sizes(in_shape: tuple[int, int, int], channels: int | Sequence[int]) -> tuple[int, ...]:
    """Channels of the images and behind each block."""
    filters = (channels,) * 4 if isinstance(channels, int) else tuple(channels)
    if len(filters) != 4:
        raise ValueError(f"channels are of four blocks, got {len(filters)}: {filters}")
    return (in_shape[0], *filters)


def _pixels_after_blocks(in_shape: tuple[int, int, int]) -> int:
    """Pixels of a map behind four halvings."""
    _, height, width = in_shape
    if min(height, width) < 16:
        raise ValueError(f"four halvings leave nothing of a {height} x {width} image: 16 x 16 is the least")
    return (height // 16) * (width // 16)


def _coded_sizes(in_features: int, hidden_sizes: Sequence[int], code: PopulationCode | None) -> tuple[int, ...]:
    """What the first layer sees, and the sizes of the hidden ones."""
    return (in_features * (code.num_neurons if code else 1), *hidden_sizes)
