"""LIF neurons whose input current decays: two fused scans, one behind the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synrl_ray.snn.neurons import LIF, integrated
from synrl_ray.snn.scan import Kernel, Reset
from synrl_ray.snn.surrogate import Surrogate


class Synaptic(nn.Module):
    r"""Second-order leaky integrate-and-fire layer: a synaptic current between input and membrane.

    .. math:: c_t = \alpha c_{t-1} + i_t, \qquad u_t = \beta u_{t-1} + c_t - r_t\,\theta, \qquad
        s_t = \Theta(u_t - \theta)

    The current is a leaky integrator without spikes, so the layer is the scan of an integrator followed by the scan
    of a LIF layer; both run fused. Equal to ``snntorch.Synaptic`` for the resets ``"subtract"`` and ``"none"``.
    With ``"zero"`` a spike resets the membrane alone, as in the current-based LIF of NIR; snntorch also clears the
    current, and the input of that step.

    Args:
        alpha: decay of the current per simulation step, a number or one per neuron, in [0, 1].
        beta, threshold, learn_beta, learn_threshold, surrogate, reset, kernel: as in :class:`LIF`.
        learn_alpha: make ``alpha`` a parameter.

    Shape:
        input ``[T, B, N]``, state ``[B, 2N]`` (membranes, then currents), reset_mask ``[T, B]``
        → spikes ``[T, B, N]``, state ``[B, 2N]``.

    Raises:
        ValueError: for parameters outside their range or tensors that do not fit.

    Example:
        >>> spikes, state = Synaptic(alpha=0.5, beta=0.5)(torch.tensor([1.0, 0.0]).view(2, 1, 1))
        >>> spikes.flatten().tolist(), state.flatten().tolist()  # u: 1, then 0.5 + 0.5
        ([0.0, 0.0], [1.0, 0.5])
    """

    states_per_neuron = 2

    def __init__(
        self,
        alpha: float | Tensor = 0.8,
        beta: float | Tensor = 0.9,
        threshold: float | Tensor = 1.0,
        *,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        surrogate: Surrogate | None = None,
        reset: Reset = "subtract",
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        try:
            self.current = LIF(alpha, learn_beta=learn_alpha, reset="none", kernel=kernel)
        except ValueError as error:
            raise ValueError(str(error).replace("beta", "alpha")) from None
        self.membrane = LIF(
            beta,
            threshold,
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            surrogate=surrogate,
            reset=reset,
            kernel=kernel,
        )

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[T, B, N]`` and the final state ``[B, 2N]``."""
        membrane = current = None
        if state is not None:
            expected = (*inputs.shape[1:-1], 2 * inputs.shape[-1])
            if state.shape != expected:
                raise ValueError(f"state must be {expected}, got {tuple(state.shape)}")
            membrane, current = state.chunk(2, dim=-1)
        currents = integrated(self.current, inputs, current, reset_mask)
        spikes, after = self.membrane(currents, membrane, reset_mask)
        return spikes, torch.cat((after, currents[-1]), dim=-1)
