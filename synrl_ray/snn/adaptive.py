"""LIF neurons that tire: each spike raises their own threshold for a while."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synrl_ray.snn.adaptive_scan import adaptive_scan
from synrl_ray.snn.scan import Kernel
from synrl_ray.snn.surrogate import Surrogate


class AdaptiveLIF(nn.Module):
    r"""Leaky integrate-and-fire layer with an adaptive threshold.

    .. math:: a_t = \rho a_{t-1} + s_{t-1}, \qquad u_t = \beta u_{t-1} + i_t - s_{t-1}\theta, \qquad
        s_t = \Theta(u_t - \theta - \kappa a_t)

    Gradients pass through the adaptation; the reset is by subtraction and not differentiated. With
    ``kappa = 0`` it is :class:`synrl_ray.snn.LIF`. Equations and reference: :mod:`synrl_ray.snn.adaptive_scan`.

    Args:
        beta: decay of the membrane per simulation step, in [0, 1].
        threshold: resting threshold, positive.
        rho: decay of the adaptation per simulation step, in [0, 1]; close to 1 is a long memory.
        kappa: by how much one spike raises the threshold, at least 0.
        learned: names of those four that become parameters. Decays are clamped to [0, 1] in use.
        surrogate: surrogate gradient of the spike.
        kernel: see :func:`synrl_ray.snn.lif_scan`.

    Shape:
        current ``[T, B, N]``, state ``[B, 2N]`` (membranes, then adaptations), reset_mask ``[T, B]``
        → spikes ``[T, B, N]``, state ``[B, 2N]``.

    Raises:
        ValueError: for parameters outside their range or tensors that do not fit.

    Example:
        >>> current = torch.full((9, 1, 1), 1.1)
        >>> AdaptiveLIF(beta=0.0, rho=1.0, kappa=1.0, threshold=0.5)(current)[0].flatten().tolist()
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    states_per_neuron = 2

    beta: Tensor
    threshold: Tensor
    rho: Tensor
    kappa: Tensor

    def __init__(
        self,
        beta: float | Tensor = 0.9,
        threshold: float | Tensor = 1.0,
        rho: float | Tensor = 0.97,
        kappa: float | Tensor = 0.2,
        *,
        learned: tuple[str, ...] = (),
        surrogate: Surrogate | None = None,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        values = {"beta": beta, "threshold": threshold, "rho": rho, "kappa": kappa}
        if unknown := set(learned) - set(values):
            raise ValueError(f"cannot learn {sorted(unknown)}: choose from {', '.join(values)}")
        for name, value in values.items():
            tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()
            _check_range(name, tensor)
            if name in learned:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        self.surrogate = surrogate or Surrogate()
        self.kernel: Kernel = kernel

    def forward(
        self, current: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, B, N]`` and the final state ``[B, 2N]``."""
        if current.dim() != 3 or current.shape[0] < 1:
            raise ValueError(f"current must be [steps >= 1, batch, neurons], got {tuple(current.shape)}")
        _, batch, num_neurons = current.shape
        if state is None:
            state = current.new_zeros(batch, 2 * num_neurons)
        elif state.shape != (batch, 2 * num_neurons):
            raise ValueError(f"state must be {(batch, 2 * num_neurons)}, got {tuple(state.shape)}")
        if reset_mask is not None and (reset_mask.shape != current.shape[:2] or reset_mask.dtype != torch.bool):
            raise ValueError(
                f"reset_mask must be bool {tuple(current.shape[:2])}, got {reset_mask.dtype} {tuple(reset_mask.shape)}"
            )
        membrane, adaptation = state.chunk(2, dim=1)
        parameters = (self.beta.clamp(0, 1), self.threshold, self.rho.clamp(0, 1), self.kappa)
        spikes, membranes, adaptations = adaptive_scan(
            current, membrane, adaptation, parameters, self.surrogate, reset_mask, self.kernel
        )
        return spikes, torch.cat((membranes[-1], adaptations[-1]), dim=1)


def _check_range(name: str, value: Tensor) -> None:
    if value.dim() > 1:
        raise ValueError(f"{name} must be a number or one per neuron, got shape {tuple(value.shape)}")
    if value.is_meta:  # torch's meta device has shapes and no numbers
        return
    if name in ("beta", "rho"):
        fits, range_ = bool(((value >= 0) & (value <= 1)).all()), "lie in [0, 1]"
    elif name == "threshold":
        fits, range_ = bool((value > 0).all()), "be positive"
    else:
        fits, range_ = bool((value >= 0).all()), "be at least 0"
    if not fits:
        raise ValueError(f"{name} must {range_}, got {value.tolist()}")
