"""Supervised training as a Tune trainable: one step is one epoch.

Legend: B batch, C classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.tune import Trainable
from torch import Tensor
from torch.utils._pytree import tree_map_only

from synrl_ray.data.mnist import LabelledImages, load_mnist
from synrl_ray.errors import NonFiniteError
from synrl_ray.experiment import ClassificationExperiment, PolicyKind
from synrl_ray.snn.device import compute_alone, learning_device, network_pass
from synrl_ray.snn.rates import excess
from synrl_ray.supervised.model import Classifier

_VALIDATION_SHARE = 0.05
_EVALUATION_BATCH = 500
_CHECKPOINT = "classifier.pt"


class ClassifierTrainable(Trainable):
    """Trains one classifier of a :class:`ClassificationExperiment`.

    ``config`` holds ``experiment``, ``policy``, ``seed`` and ``gpus_per_learner``, 0 where it is missing. ``model``
    stays on the CPU and is brought up to date at the end of each step. That reports ``loss``, ``train_accuracy`` and
    ``validation_accuracy``, the latter on training images that are held out (a search may look at it; the test set is
    for the end). Checkpoints are tensors and numbers, loaded with ``weights_only``.

    Raises:
        UserError: for missing or damaged data.
        NonFiniteError: for a loss that is NaN or infinite.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Load the data and build the model; Tune calls this."""
        compute_alone()
        self.experiment: ClassificationExperiment = config["experiment"]
        self.policy: PolicyKind = config["policy"]
        classes = self.experiment.data.classes
        training, self.test_set = load_mnist(classes)
        self.training_set, self.validation_set = _hold_out(training)
        self.generator = torch.Generator().manual_seed(config["seed"])
        torch.manual_seed(config["seed"])
        self.model = Classifier(self.experiment.policy(self.policy), classes)
        settings = self.experiment.algorithm
        self.device = learning_device(config.get("gpus_per_learner", 0.0))
        self._learns = self.model if self.device.type == "cpu" else deepcopy(self.model).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self._learns.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.batch_size = min(settings.batch_size, len(self.training_set))
        batches = len(self.training_set) // self.batch_size
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, T_max=batches * self.experiment.stopping.epochs
        )
        self.samples = 0
        self.samples_per_epoch = batches * self.batch_size

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        settings = self.experiment.algorithm
        images = torch.from_numpy(self.training_set.images)
        labels = torch.from_numpy(self.training_set.labels)
        order = torch.randperm(len(labels), generator=self.generator)
        losses, correct = [], 0
        self._learns.train()
        for rows in order.split(self.batch_size)[: len(labels) // self.batch_size]:
            batch = self._shift(images[rows], settings.max_shift).to(self.device)
            wanted = labels[rows].to(self.device)
            with self._dropout():
                logits, penalty = self._pass(batch)
            loss = torch.nn.functional.cross_entropy(logits, wanted) + penalty
            if not torch.isfinite(loss):
                raise self._not_finite("the loss")
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.item())
            correct += int((logits.argmax(1) == wanted).sum())
            self.samples += len(rows)
        if self._learns is not self.model:
            self.model.load_state_dict(self._learns.state_dict())
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise self._not_finite(f"the weight {name!r}")
        return {
            "samples": self.samples,
            "loss": float(np.mean(losses)),
            "train_accuracy": correct / (len(losses) * self.batch_size),
            "validation_accuracy": float((self.predict(self.validation_set) == self.validation_set.labels).mean()),
        }

    def _pass(self, batch: Tensor) -> tuple[Tensor, Tensor | float]:
        """Logits, and what the loss adds for spikes."""
        settings = self.experiment.algorithm
        if not settings.rate_penalty:
            with network_pass(settings.precision, self.device):
                logits = self._learns(batch)
            return logits.float(), 0.0
        with network_pass(settings.precision, self.device):
            logits, rates = self._learns.with_rates(batch)
        return logits.float(), settings.rate_penalty * excess(rates, settings.rate_target).mean()

    @contextmanager
    def _dropout(self) -> Iterator[None]:
        """Random numbers that follow from the seed and the checkpoint, where the model draws any."""
        if not getattr(self.model.config, "dropout", 0.0):
            yield
            return
        seed = int(torch.randint(2**31, (), generator=self.generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    def _not_finite(self, tensor: str) -> NonFiniteError:
        return NonFiniteError(tensor, f"after {self.samples} samples", "try a smaller learning rate")

    def _setup_logdir(self) -> None:
        """Outside of Tune there is nothing to log: leave the home folder alone."""
        if self._storage is not None:
            super()._setup_logdir()

    def predict(self, data: LabelledImages) -> NDArray[np.int64]:
        """Predicted labels of all images."""
        self._learns.eval()
        images = torch.from_numpy(data.images)
        with torch.no_grad():
            parts = [self._learns(batch.to(self.device)).argmax(1) for batch in images.split(_EVALUATION_BATCH)]
        return torch.cat(parts).cpu().numpy()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write everything that training needs to go on."""
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": tree_map_only(Tensor, Tensor.cpu, self.optimizer.state_dict()),
                "schedule": self.schedule.state_dict(),
                "generator": self.generator.get_state(),
                "samples": self.samples,
            },
            os.path.join(checkpoint_dir, _CHECKPOINT),
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from such a folder."""
        state = torch.load(Path(str(checkpoint)) / _CHECKPOINT, weights_only=True)
        for model in (self.model, self._learns):
            model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        self.samples = state["samples"]

    def _shift(self, images: Tensor, most: int) -> Tensor:
        """Move the batch by up to ``most`` pixels, the same for all of it, over a black ground."""
        if most == 0:
            return images
        down, right = (int(v) for v in torch.randint(-most, most + 1, (2,), generator=self.generator))
        padded = torch.nn.functional.pad(images, (most,) * 4)
        height, width = images.shape[-2:]
        return padded[..., most + down : most + down + height, most + right : most + right + width]


def _hold_out(data: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Split off the last images for validation; the official order is shuffled already."""
    first = len(data) - int(len(data) * _VALIDATION_SHARE)
    return (
        LabelledImages(data.images[:first], data.labels[:first]),
        LabelledImages(data.images[first:], data.labels[first:]),
    )
