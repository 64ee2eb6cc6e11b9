"""MAML as a Tune trainable: one step is a number of meta-iterations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable
from torch import Tensor

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.meta.families import family_of
from synrl_ray.meta.sharding import Shards
from synrl_ray.snn.device import compute_alone

_CHECKPOINT = "maml.pt"
_SEEDS_OF_A_RUN = 2**40
"""Training tasks that runs with different seeds do not share."""
MAX_RUN_SEED = 2**21


def require_seed(seed: int) -> None:
    """Raise :class:`UserError` for a run's seed that is out of range."""
    if not 0 <= seed < MAX_RUN_SEED:
        raise UserError(f"seed {seed} is too large for meta-learning", f"it is below {MAX_RUN_SEED}")


class MetaTrainable(Trainable):
    """Meta-trains one learner of a :class:`~synrl_ray.experiment.MetaExperiment`.

    ``config`` holds ``experiment``, ``policy``, ``seed``, ``num_workers`` and ``gpus_per_learner`` (0 where they are
    missing) and, for a search, whatever replaces settings of the outer loop: ``meta_lr``. Tasks are a function of the
    seed and the meta-iteration.
    Checkpoints are tensors and numbers, loaded with ``weights_only``.

    Raises:
        UserError: for missing data, settings that do not fit them, or a seed that is too large.
        NonFiniteError: for a meta-loss or a parameter that is not finite.
    """

    iterations_per_step = 50
    """At most; no more than lie between two evaluations."""

    def setup(self, config: dict[str, Any]) -> None:
        """Make tasks, learner and workers; Tune calls this."""
        compute_alone()
        self.experiment = config["experiment"]
        settings = self.experiment.algorithm
        require_seed(config["seed"])
        self.first_task = config["seed"] * _SEEDS_OF_A_RUN
        learner = self.experiment.learner(config["policy"])
        torch.manual_seed(config["seed"])
        self.maml = family_of(self.experiment.tasks).meta_learner(learner, settings.maml)
        self.optimizer = self._optimizer(config.get("meta_lr", settings.meta_lr))
        self.total = self.experiment.stopping.meta_iterations
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=self.total)
        scale = config.get("num_workers", 0), config.get("gpus_per_learner", 0.0)
        self.shards = Shards((self.experiment.tasks, learner, settings.maml), *scale)
        self.meta_iterations = 0
        self.iterations_per_step = min(self.iterations_per_step, self.experiment.evaluation.interval)

    def step(self) -> dict[str, Any]:
        """Some meta-iterations; the row has means over them."""
        rows = [self._meta_iteration() for _ in range(min(self.iterations_per_step, self.total - self.meta_iterations))]
        return {
            "meta_iterations": self.meta_iterations,
            **{name: sum(row[name] for row in rows) / len(rows) for name in rows[0]},
            "meta_lr": self.optimizer.param_groups[0]["lr"],
            "worker_restarts": self.shards.restarts,
        }

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another meta learning rate, as population-based training does; that of inner rates stays."""
        if "meta_lr" in new_config:
            group = self.optimizer.param_groups[0]
            group["lr"] = group["initial_lr"] = new_config["meta_lr"]
            self.schedule.base_lrs[0] = new_config["meta_lr"]
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that training needs to go on."""
        state = {
            "maml": self.maml.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "meta_iterations": self.meta_iterations,
            "worker_restarts": self.shards.restarts,
        }
        torch.save(state, os.path.join(checkpoint_dir, _CHECKPOINT))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from such a folder."""
        state = torch.load(Path(str(checkpoint)) / _CHECKPOINT, weights_only=True)
        self.maml.load_state_dict(state["maml"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.meta_iterations = state["meta_iterations"]
        self.shards.restarts = state.get("worker_restarts", 0)  # older checkpoints do not know

    def cleanup(self) -> None:
        """End the workers; Tune calls this."""
        self.shards.close()

    def _meta_iteration(self) -> dict[str, float]:
        """One meta-batch; loss and figures are those of its first meta-step, the norm is that of its last."""
        settings, at = self.experiment.algorithm, self.meta_iterations
        first = self.first_task + at * settings.meta_batch
        seeds = range(first, first + settings.meta_batch)
        row: dict[str, float] = {}
        behaviour: dict[str, Tensor] | None = None
        for epoch in range(self.maml.epochs):
            found = self.shards.gradients(self.maml.state_dict(), seeds, at, behaviour)
            if epoch == 0:
                figures = {f"train_{name}": total / found.num_tasks for name, total in found.figures.items()}
                row = {"loss": found.loss / found.num_tasks, **figures}
                if self.maml.epochs > 1:  # the optimizer is about to change the weights in place
                    behaviour = {name: tensor.clone() for name, tensor in self.maml.state_dict().items()}
            row["gradient_norm"] = self._meta_step([gradient / found.num_tasks for gradient in found.gradients])
        if settings.lr_decay:
            self.schedule.step()
        self.meta_iterations += 1
        return row

    def _meta_step(self, gradients: Sequence[Tensor]) -> float:
        """Apply meta-gradients; their norm before it is clipped."""
        parameters = list(self.maml.parameters())
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.experiment.algorithm.grad_clip or float("inf"))
        self.optimizer.step()
        if not all(bool(torch.isfinite(p).all()) for p in parameters):
            where = f"after meta-iteration {self.meta_iterations}"
            raise NonFiniteError("a meta-parameter", where, "try a smaller meta_lr")
        return float(norm)

    def _optimizer(self, meta_lr: float) -> torch.optim.Adam:
        """Adam; inner rates that have a meta learning rate of their own are its second group."""
        rates = self.maml.rates
        apart = {id(rate) for rate in rates}
        others = [p for p in self.maml.parameters() if id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": others}]
        if rates:
            groups.append({"params": rates, "lr": self.experiment.algorithm.rate_lr})
        return torch.optim.Adam(groups, lr=meta_lr)

    def _setup_logdir(self) -> None:
        """Outside of Tune there is nothing to log: leave the home folder alone."""
        if self._storage is not None:
            super()._setup_logdir()
