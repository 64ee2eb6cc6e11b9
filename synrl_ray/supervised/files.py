"""A classifier's files: safetensors for weights, JSON for the rest. Nothing in them is executed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from synrl_ray.policies.description import Description, damage_of, described, read_description
from synrl_ray.policies.layers import numbers_per_observation, require_bounded
from synrl_ray.policies.weights import load_module, save_module
from synrl_ray.settings.classifiers import ClassifierConfig
from synrl_ray.supervised.model import Classifier

_FORMAT = "classifier-1"
_Classes = tuple[Annotated[int, Interval(ge=0, le=9)], ...]


def save_classifier(model: Classifier, folder: Path, **metadata: Any) -> None:
    """Write weights and description, each atomically."""
    description = {"format": _FORMAT, "classifier": asdict(model.config), "classes": list(model.classes), **metadata}
    save_module(model, folder, description)


def load_classifier(folder: str | Path | Description) -> Classifier:
    """Inverse of :func:`save_classifier`.

    Raises:
        UserError: if the files are missing or damaged.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(_FORMAT)
        config: ClassifierConfig = described(description, "classifier", ClassifierConfig)
        classes: tuple[int, ...] = described(description, "classes", _Classes)

    def make() -> Classifier:
        model = Classifier(config, classes)
        require_bounded(numbers_per_observation(model.network))
        return model

    return load_module(make, description.folder).eval()
