"""A meta-learned initialisation's files: safetensors for weights, JSON for the rest. Nothing in them is executed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from safetensors.torch import save

from synrl_ray.files import write_atomically
from synrl_ray.meta.building import make_maml, require_room
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.policies.description import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    Description,
    damage_of,
    described,
    read_description,
)
from synrl_ray.policies.weights import load_module
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import AnnLearner, AnyTasks, GridworldTasks, Learner, SpikingLearner

FORMAT = "meta-1"
_TASKS: TypeAdapter[AnyTasks] = TypeAdapter(Annotated[AnyTasks, Field(discriminator="name")])
_LEARNER: TypeAdapter[Learner] = TypeAdapter(Annotated[AnnLearner | SpikingLearner, Field(discriminator="kind")])
_MAML: TypeAdapter[Maml | MamlRl] = TypeAdapter(Maml)
_MAML_RL: TypeAdapter[Maml | MamlRl] = TypeAdapter(MamlRl)


def save_maml(maml: MamlModel | MamlPolicy, learner: Learner, tasks: AnyTasks, folder: Path, **metadata: Any) -> None:
    """Write weights (with inner rates, where they are learned) and description, each atomically."""
    weights = {name: tensor.detach().contiguous() for name, tensor in maml.state_dict().items()}
    settings = {"maml": asdict(maml.config), "learner": asdict(learner), "tasks": asdict(tasks)}
    write_atomically(folder / WEIGHTS_FILE, save(weights))
    write_atomically(folder / DESCRIPTION_FILE, json.dumps({"format": FORMAT, **settings, **metadata}, indent=2) + "\n")


def load_maml(folder: str | Path | Description) -> tuple[MamlModel | MamlPolicy, Learner, AnyTasks]:
    """Inverse of :func:`save_maml`.

    Raises:
        UserError: if the files are missing or damaged.
    """
    description = read_description(folder)
    with damage_of(description.file):
        description.require_format(FORMAT)
        tasks = described(description, "tasks", _TASKS)
        learner = described(description, "learner", _LEARNER)
        config = described(description, "maml", _MAML_RL if isinstance(tasks, GridworldTasks) else _MAML)

    def make() -> MamlModel | MamlPolicy:
        maml = make_maml(learner, tasks, config)
        require_room(maml, tasks)
        return maml

    return load_module(make, description.folder, anew=True), learner, tasks
