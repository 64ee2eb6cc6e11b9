"""What results of all kinds share."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from synrl_ray.running.run_folder import RunFolder

_PACKAGES = ("synrl-ray", "ray", "torch", "snntorch", "gymnasium", "numpy")


def title_of(folders: Sequence[RunFolder], trained: str = "policy") -> str:
    """Experiment, what was trained and seeds, for a picture."""
    spec, seeds = folders[0].spec(), ", ".join(str(folder.spec().seed) for folder in folders)
    return f"{spec.experiment.id}: {spec.policy} {trained}, seed{'s' * (len(folders) > 1)} {seeds}"


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
