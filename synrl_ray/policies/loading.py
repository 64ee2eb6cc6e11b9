"""A trained policy from its folder, of whichever kind it is."""

from __future__ import annotations

from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.policies.description import format_of
from synrl_ray.policies.local_policy import LocalPolicy, describes_local_policy, load_local_policy
from synrl_ray.policies.policy import Policy, load_network_policy

# What else such a folder may hold, by the beginning of its format.
_OTHERS = {
    "classifier": ("classifier", "synrl_ray.supervised.files.load_classifier"),
    "meta": ("meta-learner", "synrl_ray.meta.files.load_maml"),
}


def load_policy(folder: str | Path) -> Policy | LocalPolicy:
    """Load a policy from a run folder. Nothing in the folder is executed; Ray is not needed.

    Args:
        folder: holds ``policy.safetensors`` and ``policy.json``.

    Returns:
        A network's policy, or that of an agent of local learning; both act by ``act(observations, state)``.

    Raises:
        UserError: if the files are missing or damaged, or describe a classifier or a meta-learner.
    """
    folder = Path(folder)
    if describes_local_policy(folder):
        return load_local_policy(folder)
    for prefix, (kind, loader) in _OTHERS.items():
        if format_of(folder).startswith(prefix):
            raise UserError(f"{folder} holds a {kind}, not a policy", f"load it with {loader}")
    return load_network_policy(folder)
