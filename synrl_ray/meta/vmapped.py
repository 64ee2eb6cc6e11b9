"""Any model that ``torch.func.vmap`` can take, run for many tasks with parameters of their own.

Only the forward pass is transformed. Gradients are autograd's, outside of the transform: half the time of nesting
``vmap(grad(...))``, whose every operation passes through the machinery of both.

Legend: M tasks, K samples, O outputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.losses import TaskLoss


class VmappedNetwork:
    """Forward pass and inner gradient of M copies of a model.

    Args:
        model: ``[K, ...]`` → ``[K, O]``. Buffers are shared by all tasks.
    """

    def __init__(self, model: nn.Module) -> None:
        def alone(parameters: Parameters, x: Tensor) -> Tensor:
            outputs: Tensor = functional_call(model, parameters, (x,))
            return outputs

        # Noise, such as dropout's, is each task's own.
        self._forward = vmap(alone, randomness="different")

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        """Outputs ``[M, K, O]`` of parameters ``[M, ...]`` and inputs ``[M, K, ...]``."""
        outputs: Tensor = self._forward(parameters, x)
        return outputs

    def gradients(
        self, parameters: Parameters, names: Sequence[str], x: Tensor, y: Tensor, loss: TaskLoss, create_graph: bool
    ) -> tuple[Tensor, Parameters]:
        """Losses ``[M]``, and each one's gradient by its task's own parameters of these names."""
        if not create_graph:
            parameters = {name: p.detach() for name, p in parameters.items()}
        adapting = {name: parameters[name] for name in names}

        def total(adapting: Parameters) -> tuple[Tensor, Tensor]:
            losses = loss(self({**parameters, **adapting}, x), y)
            return losses.sum(), losses

        if torch.compiler.is_compiling():  # which knows this way of taking gradients only
            by_name, (_, losses) = grad_and_value(total, has_aux=True)(adapting)
            return losses, by_name
        with torch.enable_grad():
            if not create_graph:
                adapting = {name: p.requires_grad_() for name, p in adapting.items()}
            summed, losses = total(adapting)
            gradients = torch.autograd.grad(
                summed, list(adapting.values()), create_graph=create_graph, materialize_grads=True, allow_unused=True
            )
        return losses, dict(zip(names, gradients, strict=True))


def failed_operation(error: BaseException, model: nn.Module, x: Tensor) -> str | None:
    """What in a model vmap could not take, in words; ``None`` if the model fails without it, too.

    Args:
        error: what running the model through vmap raised.
        model: the model.
        x: inputs of one task.
    """
    try:
        with torch.no_grad():
            model(x)
    except Exception:
        return None
    operation = re.search(r"aten::\w+", str(error))
    place = ""
    trace: TracebackType | None = error.__traceback__
    names = {id(module): name for name, module in model.named_modules()}
    function = ""
    while trace is not None:
        owner, cls = trace.tb_frame.f_locals.get("self"), trace.tb_frame.f_locals.get("cls")
        if isinstance(owner, nn.Module) and names.get(id(owner)):
            place = f" in {names[id(owner)]} ({type(owner).__name__})"
        if isinstance(cls, type) and issubclass(cls, torch.autograd.Function):
            function = f"autograd.Function {cls.__name__}"
        trace = trace.tb_next
    if not (operation or place or function):
        return None
    return f"{function or (operation[0] if operation else 'an operation')}{place}"
