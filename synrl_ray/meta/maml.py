r"""Model-agnostic meta-learning: learn parameters from which a few gradient steps solve a new task.

.. math::
    \theta_0 = \theta, \qquad \theta_{s+1} = \theta_s - \alpha\, \nabla_{\theta_s} L_{support}(\theta_s), \qquad
    L_{meta}(\theta, \alpha) = \frac{1}{M} \sum_{tasks} \sum_{s} w_s\, L_{query}(\theta_s)

with :math:`w` picking the last step, or weighting all of them (MAML++).

Legend: M tasks, S inner steps, E inner steps after which the query set is looked at.

References:
    Finn, Abbeel & Levine (2017), arXiv:1703.03400: MAML and its first-order form.
    Li, Zhou, Chen & Li (2017), arXiv:1707.03141: Meta-SGD, learned inner rates.
    Raghu, Raghu, Bengio & Vinyals (2020), arXiv:1909.09157: ANIL, the last layer alone adapts.
    Antoniou, Edwards & Storkey (2019), arXiv:1810.09502: MAML++, multi-step loss and annealed derivative order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synrl_ray.errors import UserError
from synrl_ray.meta.engine import Engine, InnerLoop, Parameters, TaskLosses
from synrl_ray.meta.engine_learn2learn import Learn2LearnEngine
from synrl_ray.meta.engine_vmap import VmapEngine
from synrl_ray.meta.losses import refuse_non_finite
from synrl_ray.meta.meta_learner import MetaLearner, adapting_names
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.settings.maml import Maml


@dataclass(frozen=True)
class TaskMetrics:
    """What happened on each task of a meta-batch; all tensors are detached.

    Args:
        support_loss: before each inner step ``[M, S]``.
        query_loss: wherever it was computed ``[M, E]``; the last is that of the adapted parameters.
        query_accuracy: ``[M, E]`` likewise; ``None`` where the loss knows no right and wrong.
    """

    support_loss: Tensor
    query_loss: Tensor
    query_accuracy: Tensor | None


class MamlModel(MetaLearner):
    """A model's initial parameters, and the rates at which they adapt, as meta-parameters.

    ``parameters()`` are the model's and, where inner rates are learned, those rates: hand them to any optimizer.

    Args:
        model: ``[K, ...]`` → ``[K, O]``, without state between calls. Parameters that ask for no gradient stay as
            they are.
        config: the settings.

    Raises:
        UserError: for a model that has nothing to adapt, or batch norm with running statistics, which all tasks would
            share.

    Example:
        >>> from synrl_ray.meta.networks import mlp
        >>> from synrl_ray.meta.sinusoids import SinusoidDistribution
        >>> maml = MamlModel(mlp(), Maml(inner_lr=0.01))
        >>> loss, metrics = maml.outer_loss(SinusoidDistribution(shots=10).sample("train", seeds=range(25)))
        >>> loss.backward()
        >>> tuple(metrics.query_loss.shape)
        (25, 1)
    """

    def __init__(self, model: nn.Module, config: Maml) -> None:
        super().__init__()
        self.model = model
        self.config = config
        norms = batch_norms(model)
        _refuse_running_statistics(norms)
        self.adapting = adapting_names(model, config.anil)
        self.inner_rates = nn.ParameterList()
        if config.learn_inner_lr != "none":
            for p in map(model.get_parameter, self.adapting):
                shape = p.shape if config.learn_inner_lr == "parameter" else ()
                self.inner_rates.append(nn.Parameter(p.new_full(shape, config.inner_lr)))
        self._engine: Engine = (
            Learn2LearnEngine(model)
            if config.engine == "learn2learn"
            else VmapEngine(model, self.adapting, config.compile)
        )
        if norms and config.query_statistics == "support" and not self._engine.knows_support_statistics:
            raise UserError(
                f"query_statistics='support' cannot reach batch norm {next(iter(norms))}, which is not in a block of "
                "this project",
                "set query_statistics='queries'",
            )

    def outer_loss(self, batch: TaskBatch, iteration: int = 0) -> tuple[Tensor, TaskMetrics]:
        """The meta-loss, a scalar whose ``backward()`` gives the meta-gradients.

        The gradients are computed here, chunk by chunk, and only handed on by ``backward()``: no more than one chunk's
        computation is ever in memory. Under ``torch.no_grad()`` there are none.

        Args:
            batch: M tasks.
            iteration: meta-iterations so far, for the settings that change with them.

        Raises:
            NonFiniteError: if a task's loss is; it names the task's seed.
            UserError: if the engine cannot take the model; it names the operation and the other engine.
        """
        initial = self._initial()
        metas = [p for p in (*initial.values(), *self.inner_rates) if p.requires_grad]
        total = torch.zeros((), dtype=metas[0].dtype, device=metas[0].device)
        gradients: list[Tensor] = []
        found: list[TaskLosses] = []
        for chunk in batch.chunks(self.config.chunk_size):
            try:
                losses = self._engine.losses(initial, self._rates(), chunk, self._inner_loop(iteration))
                summed = losses.total.sum() / len(batch)
                refuse_non_finite(losses.total, chunk.seeds, "the meta-loss", f"meta-iteration {iteration}")
                if torch.is_grad_enabled():
                    part = torch.autograd.grad(summed, metas, allow_unused=True, materialize_grads=True)
                    gradients = [a + b for a, b in zip(gradients, part, strict=True)] if gradients else list(part)
            except RuntimeError as error:
                self._explain(error, chunk)
                raise
            total = total + summed.detach()
            found.append(TaskLosses(losses.total.detach(), losses.support, losses.query, losses.accuracy))
        return _with_gradients(total, gradients, metas), _joined(found)

    def meta_loss(
        self, batch: TaskBatch, iteration: int, behaviour: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The outer loss; :class:`~synrl_ray.meta.meta_learner.MetaLearner` has the arguments."""
        loss, metrics = self.outer_loss(batch, iteration)
        right = metrics.query_accuracy
        return loss, {} if right is None else {"accuracy": right[:, -1]}

    def adapt(self, batch: TaskBatch, num_steps: int | None = None) -> Parameters:
        """All of the model's parameters after adapting to each task, ``[M, ...]`` by name, detached.

        Args:
            batch: M tasks, of which the support sets are read.
            num_steps: inner steps, if other than the configured ones.

        Raises:
            UserError: if the engine cannot take the model.
        """
        steps = self.config.inner_steps if num_steps is None else num_steps
        parts = []
        for chunk in batch.chunks(self.config.chunk_size):
            try:
                parts.append(self._engine.adapt(self._initial(), self._rates(), chunk, steps))
            except RuntimeError as error:
                self._explain(error, chunk)
                raise
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def evaluate(self, batch: TaskBatch, num_steps: int | None = None) -> TaskMetrics:
        """Query losses ``[M, S + 1]`` after 0 … S inner steps, without meta-gradients.

        Args:
            batch: M tasks.
            num_steps: S, if other than the configured one; more steps than in training are common.

        Raises:
            NonFiniteError: if a task's loss is; it names the task's seed.
            UserError: if the engine cannot take the model.
        """
        steps = self.config.inner_steps if num_steps is None else num_steps
        inner = InnerLoop(steps, False, (1.0,) * (steps + 1), self.by_support)
        found = []
        for chunk in batch.chunks(self.config.chunk_size):
            try:
                found.append(self._engine.losses(self._initial(), self._rates(), chunk, inner))
            except RuntimeError as error:
                self._explain(error, chunk)
                raise
            refuse_non_finite(found[-1].query, chunk.seeds, "a query loss", f"at most {steps} inner steps")
        return _joined(found)

    def query_weights(self, iteration: int) -> tuple[float, ...]:
        """Weights of the query losses after 0 … S inner steps; they sum to 1.

        With the multi-step loss they move linearly from 1/S each to the last step alone. Before the first step nothing
        has adapted: that weight is always 0.
        """
        steps = self.config.inner_steps
        if not self.config.multi_step_loss:
            return (*(0.0,) * steps, 1.0)
        each = max(0.0, 1 - iteration / self.config.multi_step_iterations) / steps
        return (0.0, *(each,) * (steps - 1), 1 - each * (steps - 1))

    def _inner_loop(self, iteration: int) -> InnerLoop:
        second = self.config.order == "second" and iteration >= self.config.first_order_until
        return InnerLoop(self.config.inner_steps, second, self.query_weights(iteration), self.by_support)

    @property
    def by_support(self) -> bool:
        """Whether queries are normalised by the support set."""
        return self.config.query_statistics == "support"

    def _initial(self) -> Parameters:
        return dict(self.model.named_parameters())

    def _rates(self) -> dict[str, Tensor | float]:
        learned: Sequence[Tensor | float] = list(self.inner_rates) or [self.config.inner_lr] * len(self.adapting)
        return dict(zip(self.adapting, learned, strict=True))

    def _explain(self, error: RuntimeError, chunk: TaskBatch) -> None:
        explained = self._engine.explained(error, chunk)
        if explained is not None:
            raise explained from error


class _GradientsAtHand(torch.autograd.Function):
    """A value whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *metas: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(grad * known for known in ctx.gradients)


def _with_gradients(value: Tensor, gradients: Sequence[Tensor], metas: Sequence[Tensor]) -> Tensor:
    if not gradients:
        return value
    result: Tensor = _GradientsAtHand.apply(value, gradients, *metas)
    return result


def _joined(found: Sequence[TaskLosses]) -> TaskMetrics:
    accuracies = [losses.accuracy for losses in found if losses.accuracy is not None]
    return TaskMetrics(
        torch.cat([losses.support for losses in found]),
        torch.cat([losses.query for losses in found]),
        torch.cat(accuracies) if accuracies else None,
    )


def batch_norms(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """By name."""
    named = model.named_modules()
    return {name: module for name, module in named if isinstance(module, nn.modules.batchnorm._BatchNorm)}


def _refuse_running_statistics(norms: Mapping[str, nn.modules.batchnorm._BatchNorm]) -> None:
    for name, module in norms.items():
        if module.track_running_stats:
            raise UserError(
                f"batch norm {name} keeps running statistics, which all tasks would share",
                "build it with track_running_stats=False",
            )
