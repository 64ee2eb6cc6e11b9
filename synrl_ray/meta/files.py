"""A meta-learned initialisation's files: safetensors for weights, JSON for the rest. Nothing in them is executed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from synrl_ray.meta.families import family_of
from synrl_ray.meta.meta_learner import MetaLearner
from synrl_ray.policies.description import Description, damage_of, described, read_description
from synrl_ray.policies.weights import load_module, save_module
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import AnyTasks, Learner

FORMAT = "meta-1"


def save_maml(maml: Any, learner: Learner, tasks: AnyTasks, folder: Path, **metadata: Any) -> None:
    """Write weights (with inner rates, where they are learned) and description, each atomically."""
    settings = {"maml": asdict(maml.config), "learner": asdict(learner), "tasks": asdict(tasks)}
    save_module(maml, folder, {"format": FORMAT, **settings, **metadata})


def load_maml(folder: str | Path | Description) -> tuple[MetaLearner, Learner, AnyTasks]:
    """Inverse of :func:`save_maml`.

    Raises:
        UserError: if the files are missing or damaged.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(FORMAT)
        tasks: AnyTasks = described(description, "tasks", AnyTasks)
        learner: Learner = described(description, "learner", Learner)
        family = family_of(tasks)
        config: Maml | MamlRl = described(description, "maml", family.inner_loop)

    def make() -> MetaLearner:
        maml = family.meta_learner(learner, config)
        family.require_room(maml)
        return maml

    return load_module(make, description.folder, anew=True), learner, tasks
