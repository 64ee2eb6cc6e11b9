"""MAML in other libraries, as their own examples write it, for ``benchmarks/maml.py``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from synrl_ray.meta.learn2learn_loader import load_maml
from synrl_ray.meta.tasks import TaskBatch

Gradients = Callable[[], list[Tensor]]


def learn2learn_gradients(model: nn.Module, batch: TaskBatch, lr: float, steps: int) -> Gradients:
    """``examples/vision/maml_omniglot.py``: one task after another, each with its own ``backward()``."""
    maml = load_maml()(model, lr=lr, first_order=False)

    def gradients() -> list[Tensor]:
        maml.zero_grad()
        for task in batch.chunks(1):
            learner = maml.clone()
            for _ in range(steps):
                learner.adapt(task.loss(learner(task.support_x[0]).unsqueeze(0), task.support_y)[0])
            loss = task.loss(learner(task.query_x[0]).unsqueeze(0), task.query_y)[0] / len(batch)
            loss.backward()
        return [p.grad for p in maml.parameters()]

    return gradients


def torchopt_gradients(model: nn.Module, batch: TaskBatch, lr: float, steps: int) -> Gradients:
    """``examples/few-shot/maml_omniglot.py``: a differentiable optimizer, the state put back after each task."""
    import torchopt  # optional: asked for only where it is installed

    inner = torchopt.MetaSGD(model, lr=lr)
    start = list(model.parameters())

    def gradients() -> list[Tensor]:
        model.zero_grad()
        network = torchopt.extract_state_dict(model, by="reference")
        optimizer = torchopt.extract_state_dict(inner, by="reference")
        for task in batch.chunks(1):
            for _ in range(steps):
                inner.step(task.loss(model(task.support_x[0]).unsqueeze(0), task.support_y)[0])
            loss = task.loss(model(task.query_x[0]).unsqueeze(0), task.query_y)[0] / len(batch)
            loss.backward()
            torchopt.recover_state_dict(model, network)
            torchopt.recover_state_dict(inner, optimizer)
        return [p.grad for p in start]

    return gradients


PEERS: dict[str, Callable[[nn.Module, TaskBatch, float, int], Gradients]] = {
    "learn2learn": learn2learn_gradients,
    "TorchOpt": torchopt_gradients,
}
