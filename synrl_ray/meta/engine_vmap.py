"""All tasks of a chunk in one computation, each with its own parameters.

Every parameter gets a leading axis of tasks, so that one pass serves them all. The inner gradient comes from one of two
places: written out layer by layer for the networks of :mod:`synrl_ray.meta.written_out.network`, otherwise from
``torch.func.vmap`` of the model's forward pass with autograd around it. Autograd differentiates either again for the
meta-gradient.

Legend: M tasks, K samples, S inner steps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from synrl_ray.errors import UserError, reason_of
from synrl_ray.meta.engine import InnerLoop, Parameters, Rates, TaskLosses
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.meta.vmapped import VmappedNetwork, failed_operation
from synrl_ray.meta.written_out.network import WrittenOutNetwork

logger = logging.getLogger(__name__)


class VmapEngine:
    """Engine ``"vmap"``; :class:`synrl_ray.meta.engine.Engine` has the methods.

    Args:
        model: ``[K, ...]`` → ``[K, O]``.
        adapting: names of the parameters that adapt. Layers before them run once for all inner steps, where the
            gradients are written out.
        compile: run the computation of a chunk through ``torch.compile``, where that works.
    """

    def __init__(self, model: nn.Module, adapting: Sequence[str], compile: bool = False) -> None:
        self.model = model
        self.body: WrittenOutNetwork | None = None
        self.network: WrittenOutNetwork | VmappedNetwork = VmappedNetwork(model)
        if (written_out := WrittenOutNetwork.of(model)) is not None:
            self.body, self.network = written_out.split(adapting)
        self._run: Callable[..., TaskLosses] = self._losses
        if compile:
            self._run = torch.compile(self._losses)
        self._is_compiled = compile

    @property
    def knows_support_statistics(self) -> bool:
        """As in :class:`~synrl_ray.meta.engine.Engine`."""
        return isinstance(self.network, WrittenOutNetwork)

    def losses(self, parameters: Parameters, rates: Rates, batch: TaskBatch, inner: InnerLoop) -> TaskLosses:
        """As in :class:`~synrl_ray.meta.engine.Engine`."""
        if self._is_compiled:
            # Compiled code is made for the values of all that is no tensor: seeds would make new code for each batch.
            anonymous = replace(batch, seeds=(0,) * len(batch))
            try:
                return self._run(parameters, rates, anonymous, inner)
            except Exception as error:  # the compiler's own failures have no common class
                logger.warning("not compiled, runs as it is: %s", reason_of(error))
                self._run, self._is_compiled = self._losses, False
        return self._run(parameters, rates, batch, inner)

    def _losses(self, parameters: Parameters, rates: Rates, batch: TaskBatch, inner: InnerLoop) -> TaskLosses:
        current = expanded(parameters, len(batch))
        batch = self._featured(current, batch, inner.by_support)
        total: Tensor | None = None
        support, query, accuracy = [], [], []
        for step, weight in enumerate(inner.query_weights):
            if step:
                losses, current = self._step(current, rates, batch, inner.second_order)
                support.append(losses.detach())
            if weight:
                outputs = self._outputs(current, batch, inner.by_support)
                loss = batch.loss(outputs, batch.query_y)
                total = weight * loss if total is None else total + weight * loss
                query.append(loss.detach())
                accuracy.append(batch.loss.accuracy(outputs.detach(), batch.query_y))
        assert total is not None
        return TaskLosses(total, torch.stack(support, 1), torch.stack(query, 1), stacked_or_none(accuracy))

    def adapt(self, parameters: Parameters, rates: Rates, batch: TaskBatch, num_steps: int) -> Parameters:
        """As in :class:`~synrl_ray.meta.engine.Engine`."""
        with torch.no_grad():
            current = expanded(parameters, len(batch))
            batch = self._featured(current, batch)
            for _ in range(num_steps):
                _, current = self._step(current, rates, batch, second_order=False)
            return {name: p.detach().clone() for name, p in current.items()}

    def explained(self, error: RuntimeError, batch: TaskBatch) -> UserError | None:
        """As in :class:`~synrl_ray.meta.engine.Engine`."""
        if not isinstance(self.network, VmappedNetwork):
            return None
        operation = failed_operation(error, self.model, batch.support_x[0])
        if operation is None:
            return None
        return UserError(f"engine 'vmap' cannot take {operation}: {reason_of(error)}", "set engine='learn2learn'")

    def _outputs(self, current: Parameters, batch: TaskBatch, by_support: bool) -> Tensor:
        """Of the queries."""
        if by_support and isinstance(self.network, WrittenOutNetwork):
            return self.network.by_support(current, batch.support_x, batch.query_x)[1]
        return self.network(current, batch.query_x)

    def _featured(self, current: Parameters, batch: TaskBatch, by_support: bool = False) -> TaskBatch:
        """The batch as the first layer that adapts sees it."""
        if self.body is None:
            return batch
        if by_support:
            support, query = self.body.by_support(current, batch.support_x, batch.query_x)
            return replace(batch, support_x=support, query_x=query)
        return replace(batch, support_x=self.body(current, batch.support_x), query_x=self.body(current, batch.query_x))

    def _step(
        self, current: Parameters, rates: Rates, batch: TaskBatch, second_order: bool
    ) -> tuple[Tensor, Parameters]:
        """The support losses ``[M]`` and the parameters after one inner step."""
        losses, gradients = self.network.gradients(
            current, list(rates), batch.support_x, batch.support_y, batch.loss, second_order and torch.is_grad_enabled()
        )
        return losses, {**current, **{name: moved(current[name], rates[name], gradients[name]) for name in rates}}


def moved(parameter: Tensor, rate: Tensor | float, gradient: Tensor) -> Tensor:
    """``parameter - rate * gradient`` in one operation."""
    if isinstance(rate, Tensor):
        return torch.addcmul(parameter, rate, gradient, value=-1)
    return torch.sub(parameter, gradient, alpha=rate)


def stacked_or_none(columns: list[Any]) -> Tensor | None:
    """``[M, E]`` of E columns ``[M]``, unless they are ``None``."""
    return None if any(column is None for column in columns) else torch.stack(columns, 1)


def expanded(parameters: Parameters, num_tasks: int) -> Parameters:
    """The same parameters for each of M tasks, ``[M, ...]``, without copying them."""
    return {name: p.expand(num_tasks, *p.shape) for name, p in parameters.items()}
