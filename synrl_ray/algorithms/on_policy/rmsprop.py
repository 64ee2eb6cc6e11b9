"""The optimiser of A2C's published settings."""

from __future__ import annotations

from typing import Any

import torch


class RMSpropTF(torch.optim.Optimizer):
    r"""RMSprop with the epsilon inside the root and the average started at one, as TensorFlow's.

    .. math:: v \leftarrow \alpha v + (1 - \alpha) g^2, \qquad w \leftarrow w - \eta\, g / \sqrt{v + \epsilon}

    The published settings of A2C and IMPALA were tuned with this form; torch's adds epsilon outside the root, which is
    a different step where gradients are small.

    Args:
        params: what to optimise.
        lr: learning rate.
        alpha: decay of the average.
        eps: inside the root.
    """

    def __init__(self, params: Any, lr: float = 7e-4, alpha: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["square_avg"] = torch.ones_like(parameter)
                average = state["square_avg"]
                average.mul_(group["alpha"]).addcmul_(parameter.grad, parameter.grad, value=1 - group["alpha"])
                parameter.addcdiv_(parameter.grad, (average + group["eps"]).sqrt_(), value=-group["lr"])
