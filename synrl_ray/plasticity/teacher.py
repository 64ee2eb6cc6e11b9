"""A supervised teacher: current into the neuron that should fire, less and less of it."""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.settings.plasticity import TeacherSignal


def teacher_strength(config: TeacherSignal, step: int) -> float:
    r"""Current of the teacher after ``step`` steps, in units of the membrane.

    .. math:: c(n) = c_0 \, \mathrm{clip}\Big(1 - \frac{n - n_{hold}}{n_{fade}},\; 0,\; 1\Big)

    Full until ``hold_steps``, then linear to zero at ``hold_steps + fade_steps``. What a step is (an environment step,
    an update) is up to the caller.

    Raises:
        ValueError: for a negative step.

    Example:
        >>> [teacher_strength(TeacherSignal(current=2.0, hold_steps=10, fade_steps=20), n) for n in (0, 10, 20, 30)]
        [2.0, 2.0, 1.0, 0.0]
    """
    if step < 0:
        raise ValueError(f"step must be >= 0, got {step}")
    if step <= config.hold_steps:
        return config.current
    if config.fade_steps == 0:
        return 0.0
    return config.current * max(0.0, 1 - (step - config.hold_steps) / config.fade_steps)


def teacher_current(targets: Tensor, num_neurons: int, config: TeacherSignal, step: int) -> Tensor:
    """Current to add to that of the layer's neurons, so that the target fires and STDP learns the pairing.

    Args:
        targets: index of the neuron that should fire; -1 where there is no teacher.
        num_neurons: N, of the layer.
        config: strength, schedule, and inhibition of the others.
        step: where in the schedule this is; one number for the whole fragment.

    Shape:
        targets ``[T, B]`` int64 → ``[T, B, N]`` float32.

    Raises:
        ValueError: for a target that is no neuron, or a negative step.

    References:
        Legenstein, Naeger & Maass (2005), doi:10.1162/0899766054796888.
    """
    if targets.is_floating_point() or targets.numel() == 0:
        raise ValueError(f"targets must be neuron indices, got {tuple(targets.shape)} {targets.dtype}")
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < -1 or highest >= num_neurons:
        wrong = lowest if lowest < -1 else highest
        raise ValueError(f"target {wrong} is none of the {num_neurons} neurons (-1 stands for no teacher)")
    strength = teacher_strength(config, step)
    taught = targets.unsqueeze(-1) >= 0
    is_target = targets.unsqueeze(-1) == torch.arange(num_neurons, device=targets.device)
    others = torch.where(taught, torch.tensor(-config.inhibition * strength, device=targets.device), 0.0)
    return torch.where(is_target, strength, others)
