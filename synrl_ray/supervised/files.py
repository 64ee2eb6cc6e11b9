"""A classifier's files: safetensors for weights, JSON for the rest. Nothing in them is executed."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from synrl_ray.errors import UserError
from synrl_ray.files import write_atomically
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, read_description, require_room
from synrl_ray.supervised.config import AnnClassifier, SpikingClassifier
from synrl_ray.supervised.model import Classifier

_FORMAT = "classifier-1"


def is_classifier(description: Any) -> bool:
    """Whether a ``policy.json`` describes a classifier of the format that is read here."""
    return isinstance(description, dict) and description.get("format") == _FORMAT


def save_classifier(model: Classifier, folder: Path, **metadata: Any) -> None:
    """Write weights and description, each atomically."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    description = {"format": _FORMAT, "classifier": asdict(model.config), "classes": list(model.classes), **metadata}
    write_atomically(folder / WEIGHTS_FILE, save(weights))
    write_atomically(folder / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")


def load_classifier(folder: Path) -> Classifier:
    """Inverse of :func:`save_classifier`.

    Raises:
        UserError: if the files are missing or damaged.
    """
    try:
        description = read_description(folder)
        if not is_classifier(description):
            raise ValueError("its format is not known")
        kind: Any = {"spiking": SpikingClassifier, "ann": AnnClassifier}[description["classifier"]["kind"]]
        unknown = sorted(set(description["classifier"]) - {field.name for field in fields(kind)})
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}")
        config = TypeAdapter(kind).validate_python(description["classifier"])
        hidden = config.hidden_sizes if config.architecture == "mlp" else config.hidden_sizes[-1:]
        require_room(folder, [*hidden, len(description["classes"])])
        model = Classifier(config, tuple(int(digit) for digit in description["classes"]))
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, KeyError, TypeError, ValueError, ValidationError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the classifier in {folder} is damaged ({reason})", "restore it or train again") from error
    return model.eval()
