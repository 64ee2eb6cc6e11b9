"""Neuron layers. State goes in as an argument and comes out as a result; nothing is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from synrl_ray.snn.plain import is_plain
from synrl_ray.snn.scan import RESETS, Kernel, Reset, lif_scan
from synrl_ray.snn.surrogate import Surrogate


class LIF(nn.Module):
    r"""Leaky integrate-and-fire layer over a whole sequence.

    .. math:: u_t = \beta u_{t-1} + i_t - r_t\,\theta, \qquad s_t = \Theta(u_t - \theta)

    The mathematics is that of ``snntorch.Leaky`` (reset one step after the spike, not differentiated);
    see :mod:`synrl_ray.snn.scan` for all three resets and the backward pass. Whether the current is finite is left to
    the caller: a neuron with NaN on its membrane falls silent.

    Args:
        beta: membrane decay per simulation step, a number or one per neuron, in [0, 1].
        threshold: firing threshold, a number or one per neuron, positive.
        learn_beta, learn_threshold: make them parameters. A learned ``beta`` is clamped to [0, 1] in use.
        surrogate: surrogate gradient of the spike.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        graded: emit the surrogate's primitive instead of spikes (for gradient checks).
        hold: K, simulation steps for which each input current is held.
        kernel: see :func:`synrl_ray.snn.lif_scan`.

    Shape:
        current ``[E, B, N]``, membrane ``[B, N]``, reset_mask ``[E, B]``
        → spikes ``[E*K, B, N]``, membrane ``[B, N]``.

    Raises:
        ValueError: for parameters outside their range or tensors that do not fit.

    Example:
        >>> spikes, membrane = LIF(beta=0.5)(torch.full((3, 1, 1), 0.6))
        >>> spikes.flatten().tolist(), round(membrane.item(), 3)
        ([0.0, 0.0, 1.0], 1.05)
    """

    states_per_neuron = 1

    beta: Tensor
    threshold: Tensor

    def __init__(
        self,
        beta: float | Sequence[float] | Tensor = 0.9,
        threshold: float | Sequence[float] | Tensor = 1.0,
        *,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        surrogate: Surrogate | None = None,
        reset: Reset = "subtract",
        hold: int = 1,
        graded: bool = False,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        beta_ = torch.as_tensor(beta, dtype=torch.get_default_dtype()).clone()
        threshold_ = torch.as_tensor(threshold, dtype=torch.get_default_dtype()).clone()
        for name, value in (("beta", beta_), ("threshold", threshold_)):
            if value.dim() > 1:
                raise ValueError(f"{name} must be a number or one per neuron, got shape {tuple(value.shape)}")
        is_known = not beta_.is_meta  # torch's meta device has shapes and no numbers
        if is_known and not bool(((beta_ >= 0) & (beta_ <= 1)).all()):
            raise ValueError(f"beta must lie in [0, 1], got {beta}")
        if is_known and not bool((threshold_ > 0).all()):
            raise ValueError(f"threshold must be positive, got {threshold}")
        if hold < 1:
            raise ValueError(f"hold must be at least 1, got {hold}")
        if reset not in RESETS:
            raise ValueError(f"unknown reset {reset!r}: choose one of {', '.join(RESETS)}")
        self._hold("beta", beta_, learn_beta)
        self._hold("threshold", threshold_, learn_threshold)
        self.surrogate = surrogate or Surrogate()
        self.reset = reset
        self.hold = hold
        self.graded = graded
        self.kernel: Kernel = kernel

    def _hold(self, name: str, value: Tensor, learned: bool) -> None:
        if learned:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    @property
    def decay(self) -> Tensor:
        """``beta`` as it is used: clamped to [0, 1] where it is learned."""
        fixed = self._buffers.get("beta")
        return self.beta.clamp(0, 1) if fixed is None else fixed

    def forward(
        self, current: Tensor, membrane: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return spikes ``[E*K, B, N]`` and the final membrane ``[B, N]``."""
        spikes, membranes = self.scan(current, membrane, reset_mask)
        return spikes, membranes[-1]

    def scan(
        self,
        current: Tensor,
        membrane: Tensor | None = None,
        reset_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spikes and the membrane at every simulation step, both ``[E*K, B, N]``."""
        if membrane is None:
            membrane = current.new_zeros(current.shape[1:])
        self._check(current, membrane, reset_mask)
        return lif_scan(
            current,
            membrane,
            beta=self.decay,
            threshold=self.threshold,
            surrogate=self.surrogate,
            reset=self.reset,
            reset_mask=reset_mask,
            hold=self.hold,
            graded=self.graded,
            kernel=self.kernel,
        )

    def _check(self, current: Tensor, membrane: Tensor, reset_mask: Tensor | None) -> None:
        if current.dim() != 3 or current.shape[0] < 1:
            raise ValueError(f"current must be [steps >= 1, batch, neurons], got {tuple(current.shape)}")
        if membrane.shape != current.shape[1:]:
            raise ValueError(f"membrane must be {tuple(current.shape[1:])}, got {tuple(membrane.shape)}")
        if reset_mask is not None and (reset_mask.shape != current.shape[:2] or reset_mask.dtype != torch.bool):
            raise ValueError(
                f"reset_mask must be bool {tuple(current.shape[:2])}, got {reset_mask.dtype} {tuple(reset_mask.shape)}"
            )
        for name, value in (("beta", self.beta), ("threshold", self.threshold)):
            if value.dim() == 1 and value.shape[0] != current.shape[2]:
                raise ValueError(f"{name} is given for {value.shape[0]} neurons, current has {current.shape[2]}")

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"reset={self.reset!r}, surrogate={self.surrogate.name}({self.surrogate.k:g})"


class LeakyReadout(nn.Module):
    r"""Leaky integrator without spikes; the output of an observation is its membrane at the end.

    .. math:: u_k = \beta u_{k-1} + W s_k + b

    Only the last of the K simulation steps of an observation is wanted, and the integrator is linear, so the
    spikes are summed with weights :math:`\beta^{K-1-k}` first and meet ``W`` once per observation.

    Args:
        in_features, out_features: of the linear map ``W``.
        beta: decay per simulation step in [0, 1]; 1 sums the input.
        hold: K, simulation steps per observation.
        kernel: of the integrator, see :func:`synrl_ray.snn.lif_scan`.

    Shape:
        spikes ``[E*K, B, in_features]``, membrane ``[B, out_features]``, reset_mask ``[E, B]``
        → membranes ``[E, B, out_features]``, and the last of them, the state.
    """

    weights: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, beta: float = 0.9, hold: int = 1, kernel: Kernel = "auto"
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.beta = float(beta)
        self.state_size = out_features
        powers, device = float(beta) ** torch.arange(hold - 1, -1, -1.0, device="cpu"), torch.get_default_device()
        # On torch's meta device they stay numbers, for no state dictionary has them.
        self.register_buffer("weights", powers if device.type == "meta" else powers.to(device), persistent=False)
        self.bias_gain = float(powers.sum())
        self.integrator = LIF(beta**hold, reset="none", kernel=kernel)

    def forward(self, spikes: Tensor, membrane: Tensor, reset_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the membrane after every observation, and after the last one."""
        hold, linear = self.weights.shape[0], self.linear
        if hold == 1:
            current = linear(spikes)
        elif is_plain(linear, nn.Linear) and linear.bias is not None:
            current = nn.functional.linear(self._pooled(spikes), linear.weight, self.bias_gain * linear.bias)
        else:  # which may be no linear map
            current = self._pooled(linear(spikes))
        if current.shape[0] == 1 and reset_mask is None and is_plain(self.integrator, LIF):
            membranes = torch.addcmul(current, membrane, self.integrator.beta)
        else:
            membranes = integrated(self.integrator, current, membrane, reset_mask)
        return membranes, membranes[-1]

    def _pooled(self, signal: Tensor) -> Tensor:
        """``[E*K, B, ...]`` → ``[E, B, ...]``: the steps of every observation, summed with the weights."""
        summed = torch.matmul(self.weights, signal.reshape(-1, self.weights.shape[0], signal[0].numel()))
        return summed.view(-1, *signal.shape[1:])


def integrated(neuron: nn.Module, current: Tensor, membrane: Tensor | None, reset_mask: Tensor | None) -> Tensor:
    """Membranes of a layer after every step ``[T, B, N]``; one that is more than a plain LIF is called step by step.

    Args:
        neuron: a layer with ``hold=1``, whose calls return the final membrane only.
        current, membrane, reset_mask: its arguments.
    """
    if is_plain(neuron, LIF):
        return cast("LIF", neuron).scan(current, membrane, reset_mask)[1]
    membranes = []
    for e, i_e in enumerate(current.split(1)):
        mask = None if reset_mask is None else reset_mask[e : e + 1]
        _, membrane = neuron(i_e, membrane, mask)
        membranes.append(membrane)
    return torch.stack(membranes)
