"""The tasks one after another through learn2learn: the reference, and the engine for models that vmap cannot take.

learn2learn clones the module and reroutes its parameters. Two of its traps are handled here: a clone keeps the bound
methods that a module stores in itself, as neurons of snntorch do, and with them the *original's* parameters and
membrane; and ``adapt()`` prints an error of autograd and goes on with a variable that does not exist. A third is
torch's own: functions without a second derivative.

Legend: M tasks, K samples, S inner steps.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synrl_ray.errors import UserError
from synrl_ray.meta.engine import InnerLoop, Parameters, Rates, TaskLosses
from synrl_ray.meta.engine_vmap import stacked_or_none
from synrl_ray.meta.learn2learn_loader import load_maml
from synrl_ray.meta.tasks import TaskBatch


class Learn2LearnEngine:
    """Engine ``"learn2learn"``; :class:`synrl_ray.meta.engine.Engine` has the methods.

    Args:
        model: ``[K, ...]`` → ``[K, O]``.

    Raises:
        UserError: if learn2learn is not installed.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._maml = load_maml()
        from learn2learn.algorithms.maml import maml_update

        self._update = maml_update
        self._is_checked = False

    @property
    def knows_support_statistics(self) -> bool:
        """As in :class:`~synrl_ray.meta.engine.Engine`."""
        return False

    def losses(self, parameters: Parameters, rates: Rates, batch: TaskBatch, inner: InnerLoop) -> TaskLosses:
        """As in :class:`~synrl_ray.meta.engine.Engine`; the parameters are the model's own."""
        totals, supports, queries, accuracies = [], [], [], []
        for task in batch.chunks(1):
            clone = self._clone()
            total: Tensor | None = None
            support, query, accuracy = [], [], []
            for step, weight in enumerate(inner.query_weights):
                if step:
                    support.append(self._step(clone, rates, task, inner.second_order and torch.is_grad_enabled()))
                if weight:
                    outputs = clone(task.query_x[0]).unsqueeze(0)
                    loss = task.loss(outputs, task.query_y)
                    total = weight * loss if total is None else total + weight * loss
                    query.append(loss.detach())
                    accuracy.append(task.loss.accuracy(outputs.detach(), task.query_y))
            assert total is not None
            totals.append(total)
            supports.append(torch.stack(support, 1))
            queries.append(torch.stack(query, 1))
            accuracies.append(stacked_or_none(accuracy))
        known = [rows for rows in accuracies if rows is not None]
        return TaskLosses(
            torch.cat(totals), torch.cat(supports), torch.cat(queries), torch.cat(known) if known else None
        )

    def adapt(self, parameters: Parameters, rates: Rates, batch: TaskBatch, num_steps: int) -> Parameters:
        """As in :class:`~synrl_ray.meta.engine.Engine`; the parameters are the model's own."""
        rows = []
        for task in batch.chunks(1):
            clone = self._clone()
            for _ in range(num_steps):
                self._step(clone, rates, task, second_order=False)
            rows.append({name: p.detach() for name, p in clone.module.named_parameters()})
        return {name: torch.stack([row[name] for row in rows]) for name in parameters}

    def explained(self, error: RuntimeError, batch: TaskBatch) -> UserError | None:
        """As in :class:`~synrl_ray.meta.engine.Engine`; what torch raises here is not about the engine."""
        return None

    @torch.enable_grad()
    def _clone(self) -> Any:
        """A clone whose stored bound methods are its own."""
        clone = self._maml(self.model, lr=1.0).clone()
        originals, clones = (
            [module for _, module in root.named_modules(remove_duplicate=False)] for root in (self.model, clone.module)
        )
        twins = dict(zip(map(id, originals), clones, strict=True))
        for module in clones:
            for name, value in list(vars(module).items()):
                owner = getattr(value, "__self__", None)
                if isinstance(value, MethodType) and id(owner) in twins:
                    setattr(module, name, MethodType(value.__func__, twins[id(owner)]))
        return clone

    def _step(self, clone: Any, rates: Rates, task: TaskBatch, second_order: bool) -> Tensor:
        """Take one inner step; returns the support loss ``[1]`` before it."""
        with torch.enable_grad():
            named = dict(clone.module.named_parameters())
            adapting = [named[name] for name in rates]
            loss = task.loss(clone(task.support_x[0]).unsqueeze(0), task.support_y)
            if second_order and not self._is_checked:
                _refuse_once_differentiable(loss.grad_fn)
                self._is_checked = True
            gradients = torch.autograd.grad(
                loss.sum(), adapting, create_graph=second_order, materialize_grads=True, allow_unused=True
            )
            steps = {name: rates[name] * g for name, g in zip(rates, gradients, strict=True)}
            self._update(clone.module, 1.0, [steps.get(name) for name in named])
        return loss.detach()


def _refuse_once_differentiable(node: Any) -> None:
    """Search the graph of a loss for functions without a second derivative.

    Torch would not complain: ``autograd.grad`` by the meta-parameters leaves their part of the meta-gradient out.
    """
    seen: set[Any] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function: Any = getattr(type(node), "_forward_cls", None)
        backward = getattr(getattr(function, "backward", None), "__code__", None)
        if backward is not None and backward.co_filename == once_differentiable.__code__.co_filename:
            raise UserError(
                f"engine 'learn2learn' cannot take {function.__name__}: it has no second derivative",
                "set engine='vmap', or build spiking layers with kernel='functional'",
            )
        stack.extend(following for following, _ in node.next_functions)
