"""synrl_ray: spiking reinforcement-learning agents on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synrl_ray.envs.registration import register_environments

__version__ = "0.1.0"
__all__ = ["Experiment", "__version__", "load_policy"]

if TYPE_CHECKING:
    from synrl_ray.experiment import Experiment
    from synrl_ray.policies.loading import load_policy

register_environments()


def __getattr__(name: str) -> Any:
    """Import on first use: ``import synrl_ray`` loads neither torch nor Ray."""
    if name == "load_policy":
        from synrl_ray.policies.loading import load_policy

        return load_policy
    if name == "Experiment":
        from synrl_ray.experiment import Experiment

        return Experiment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
