"""synrl_ray: spiking reinforcement-learning agents on Ray."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synrl_ray.envs.registration import register_environments

if TYPE_CHECKING:
    from synrl_ray.api.comparing import compare, report
    from synrl_ray.api.judging import evaluate, pack
    from synrl_ray.api.searching import tune
    from synrl_ray.api.specs import make_experiment
    from synrl_ray.api.training import train
    from synrl_ray.api.watching import watch
    from synrl_ray.errors import UserError
    from synrl_ray.experiment import Experiment
    from synrl_ray.policies.loading import load_policy

__version__ = "0.1.0"
__all__ = [
    "Experiment",
    "UserError",
    "__version__",
    "compare",
    "evaluate",
    "load_policy",
    "make_experiment",
    "pack",
    "report",
    "train",
    "tune",
    "watch",
]
_MODULES = {
    "Experiment": "experiment",
    "UserError": "errors",
    "compare": "api.comparing",
    "evaluate": "api.judging",
    "load_policy": "policies.loading",
    "make_experiment": "api.specs",
    "pack": "api.judging",
    "report": "api.comparing",
    "train": "api.training",
    "tune": "api.searching",
    "watch": "api.watching",
}

register_environments()


def __getattr__(name: str) -> Any:
    """Import on first use: ``import synrl_ray`` loads neither torch nor Ray."""
    if name in _MODULES:
        return getattr(import_module(f"synrl_ray.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
