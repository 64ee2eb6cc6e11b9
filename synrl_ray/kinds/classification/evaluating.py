"""A trained classifier, judged again."""

from __future__ import annotations

from typing import Any

import torch

from synrl_ray.data.mnist import load_mnist
from synrl_ray.evaluation.proportion import wilson_interval
from synrl_ray.policies.description import Description
from synrl_ray.policies.layers import numbers_per_observation, rows_at_once
from synrl_ray.running.kind import EvaluationOptions
from synrl_ray.supervised.files import load_classifier

_IMAGES_AT_ONCE = 500
"""Fewer where much is computed for each of them."""


def evaluate(description: Description, options: EvaluationOptions) -> dict[str, Any]:
    """Accuracy on the official test set."""
    model = load_classifier(description)
    _, test = load_mnist(model.classes)
    at_once = rows_at_once(numbers_per_observation(model.network), _IMAGES_AT_ONCE)
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in torch.from_numpy(test.images).split(at_once)])
    num_correct = int((predicted.numpy() == test.labels).sum())
    return {
        "experiment": description.get("experiment"),
        "policy": model.config.kind,
        "run": str(description.folder),
        "accuracy": num_correct / len(test),
        "accuracy_ci95": list(wilson_interval(num_correct, len(test))),
        "errors": len(test) - num_correct,
        "protocol": {"data": "MNIST, official test set", "classes": list(model.classes), "test_images": len(test)},
    }
