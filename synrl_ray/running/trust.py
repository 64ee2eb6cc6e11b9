"""Whose checkpoints are loaded."""

from __future__ import annotations

from synrl_ray.errors import UserError
from synrl_ray.experiment import Experiment, LocalExperiment
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec


def require_own(folder: RunFolder, spec: RunSpec) -> None:
    """Refuse RLlib's checkpoints of other users and machines: they are pickles. Other tasks keep plain tensors.

    Raises:
        UserError: for such a checkpoint, or none that is whole.
    """
    found = folder.checkpoint()
    if found is not None and not found.is_own and isinstance(spec.experiment, Experiment | LocalExperiment):
        raise UserError(
            f"checkpoint {found.state.parent} was not made by you on this machine, and loading it can execute anything "
            "(RLlib's checkpoints are pickles)",
            "if you trust whoever made it, add --trust",
        )
