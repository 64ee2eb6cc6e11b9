"""A trained policy from its folder, of whichever kind it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from synrl_ray.errors import UserError
from synrl_ray.policies.description import read_description
from synrl_ray.policies.packing import is_packed, unpacked

if TYPE_CHECKING:
    from synrl_ray.policies.hebbian.policy import HebbianPolicy
    from synrl_ray.policies.local.policy import LocalPolicy
    from synrl_ray.policies.policy import Policy


def load_policy(folder: str | Path, *, trust: bool = False) -> Policy | LocalPolicy | HebbianPolicy:
    """Load a policy from a run folder, or a packed one. Nothing in it is executed; Ray is not needed.

    Args:
        folder: holds ``policy.safetensors`` and ``policy.json``; or the path or URL of a file of `synrl pack`.
        trust: import the module of a network of a user's own, if ``policy.json`` names one.

    Returns:
        A network's policy, that of an agent of local learning, or an evolved one, whose weights change in an episode:
        all act by ``act(observations, state)``.

    Raises:
        UserError: if the files are missing or damaged, describe a classifier or a meta-learner, or ask to import a
            module without ``trust``.
    """
    if is_packed(folder):
        with unpacked(folder) as files:
            return _loaded(files, folder, trust=trust)
    return _loaded(Path(folder), folder, trust=trust)


def _loaded(files: Path, place: str | Path, *, trust: bool) -> Policy | LocalPolicy | HebbianPolicy:
    description = replace(read_description(files), trusted=trust)
    form = description.format
    if not form.acts:
        raise UserError(f"{place} holds {form.holds}, not a policy", f"load it with {form.loader}")
    return cast("Policy | LocalPolicy | HebbianPolicy", description.load())
