"""A trained classifier, judged again."""

from __future__ import annotations

from dataclasses import replace

import torch

from synrl_ray.data.mnist import load_mnist
from synrl_ray.kinds.classification.result import judge
from synrl_ray.kinds.inside import parameters_of, weights_of
from synrl_ray.policies.description import Description
from synrl_ray.policies.layers import numbers_per_observation, rows_at_once
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, Inside
from synrl_ray.supervised.files import load_classifier

_IMAGES_AT_ONCE = 500
"""Fewer where much is computed for each of them."""


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Accuracy on the official test set."""
    model = load_classifier(description)
    _, test = load_mnist(model.classes)
    at_once = rows_at_once(numbers_per_observation(model.network), _IMAGES_AT_ONCE)
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in torch.from_numpy(test.images).split(at_once)])
    found = judge(predicted.numpy(), test, model.classes, model.config.kind, description.get("experiment"))
    return replace(found, run=str(description.folder))


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """Its weights; nothing in its files is imported."""
    model = load_classifier(description)
    return Inside(parameters=parameters_of(model), weights=weights_of(model))
