"""MAML as a Tune trainable: one step is a number of meta-iterations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.meta.building import make_learner, make_tasks
from synrl_ray.meta.maml import MAML
from synrl_ray.meta.sharding import Shards

_CHECKPOINT = "maml.pt"
_SEEDS_OF_A_RUN = 2**40
"""Training tasks that runs with different seeds do not share."""
MAX_RUN_SEED = 2**21


class MAMLTrainable(Trainable):
    """Meta-trains one learner of a :class:`~synrl_ray.experiment.MetaExperiment`.

    ``config`` holds ``experiment``, ``policy``, ``seed``, ``num_workers`` (0 where it is missing) and, for a search,
    whatever replaces settings of the outer loop: ``meta_lr``. Tasks are a function of the seed and the meta-iteration.
    Checkpoints are tensors and numbers, loaded with ``weights_only``.

    Raises:
        UserError: for missing data, settings that do not fit them, or a seed that is too large.
        NonFiniteError: for a meta-loss or a parameter that is not finite.
    """

    iterations_per_step = 50

    def setup(self, config: dict[str, Any]) -> None:
        """Make tasks, learner and workers; Tune calls this."""
        torch.set_num_threads(1)
        self.experiment = config["experiment"]
        settings = self.experiment.algorithm
        if not 0 <= config["seed"] < MAX_RUN_SEED:
            raise UserError(f"seed {config['seed']} is too large for meta-learning", f"it is below {MAX_RUN_SEED}")
        self.first_task = config["seed"] * _SEEDS_OF_A_RUN
        learner = self.experiment.learner(config["policy"])
        torch.manual_seed(config["seed"])
        self.tasks = make_tasks(self.experiment.tasks)
        self.maml = MAML(make_learner(learner, self.experiment.tasks), settings.maml)
        self.optimizer = torch.optim.Adam(self.maml.parameters(), lr=config.get("meta_lr", settings.meta_lr))
        self.total = self.experiment.stopping.meta_iterations
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=self.total)
        self.shards = Shards((self.experiment.tasks, learner, settings.maml), config.get("num_workers", 0))
        self.meta_iterations = 0

    def step(self) -> dict[str, Any]:
        """Some meta-iterations; the row has means over them."""
        losses, accuracies, norms = [], [], []
        for _ in range(min(self.iterations_per_step, self.total - self.meta_iterations)):
            loss, accuracy, norm = self._meta_iteration()
            losses.append(loss)
            norms.append(norm)
            if accuracy is not None:
                accuracies.append(accuracy)
        row = {
            "meta_iterations": self.meta_iterations,
            "loss": sum(losses) / len(losses),
            "gradient_norm": sum(norms) / len(norms),
            "meta_lr": self.optimizer.param_groups[0]["lr"],
            "worker_restarts": self.shards.restarts,
        }
        return row | ({"train_accuracy": sum(accuracies) / len(accuracies)} if accuracies else {})

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another meta learning rate, as population-based training does."""
        if "meta_lr" in new_config:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] = new_config["meta_lr"]
            self.schedule.base_lrs = [new_config["meta_lr"]]
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that training needs to go on."""
        state = {
            "maml": self.maml.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "meta_iterations": self.meta_iterations,
        }
        torch.save(state, os.path.join(checkpoint_dir, _CHECKPOINT))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from such a folder."""
        state = torch.load(Path(str(checkpoint)) / _CHECKPOINT, weights_only=True)
        self.maml.load_state_dict(state["maml"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.meta_iterations = state["meta_iterations"]

    def cleanup(self) -> None:
        """End the workers; Tune calls this."""
        self.shards.close()

    def _meta_iteration(self) -> tuple[float, float | None, float]:
        settings, at = self.experiment.algorithm, self.meta_iterations
        first = self.first_task + at * settings.meta_batch
        found = self.shards.gradients(self.maml.state_dict(), range(first, first + settings.meta_batch), at)
        parameters = list(self.maml.parameters())
        for parameter, gradient in zip(parameters, found.gradients, strict=True):
            parameter.grad = gradient / found.num_tasks
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.grad_clip or float("inf"))
        self.optimizer.step()
        if settings.lr_decay:
            self.schedule.step()
        if not all(bool(torch.isfinite(p).all()) for p in parameters):
            raise NonFiniteError("a meta-parameter", f"after meta-iteration {at}", "try a smaller meta_lr")
        self.meta_iterations += 1
        accuracy = None if found.accuracy is None else found.accuracy / found.num_tasks
        return found.loss / found.num_tasks, accuracy, float(norm)

    def _setup_logdir(self) -> None:
        """Outside of Tune there is nothing to log: leave the home folder alone."""
        if self._storage is not None:
            super()._setup_logdir()
