"""``synrl evaluate`` and ``synrl export``: what a folder holds, judged again and written for others, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of_policy
from synrl_ray.policies.description import Description, read_description
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, option


def evaluate_folder(folder: Path | Description, **options: Any) -> Result:
    """Judge what a folder holds by the protocol of its run, or as the options say; the folder is not changed.

    Args:
        folder: with ``policy.safetensors`` and ``policy.json``, or the description that was read there.
        options: see :class:`~synrl_ray.running.kind.EvaluationOptions`.

    Raises:
        UserError: for a damaged folder, an environment that cannot be made or is in a module that a stranger asks to
            import, a refused video format, or an option that means nothing for what the folder holds.
    """
    asked = EvaluationOptions(**options)
    description = read_description(folder)
    kind = kind_of_policy(description)
    for name in asked.given():
        if name not in kind.evaluation_options:
            raise UserError(f"{option(name)} means nothing for {description.format.holds}", "leave it out")
    return kind.evaluate(description, asked)


def export_folder(
    folder: Path, out: Path, *, trust: bool = False, num_observations: int = 1000, bits: int | None = None
) -> dict[str, Any]:
    """Write what a folder holds as a NIR graph; see :func:`synrl_ray.kinds.control.exporting.export_nir`.

    Raises:
        UserError: for another file name, or what cannot be exported.
    """
    if out.suffix != ".nir":
        raise UserError(f"{out} is no NIR file", "let its name end in .nir")
    description = read_description(folder)
    return kind_of_policy(description).export(description, out, trust, num_observations, bits)
