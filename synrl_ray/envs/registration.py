"""Make environments known to Gymnasium that it does not know by itself, and say which modules that takes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ENVIRONMENTS = {
    "synrl_ray/CartPolePhysics-v0": "synrl_ray.envs.cartpole_physics:CartPolePhysicsEnv",
    "synrl_ray/ChangingCartPole-v0": "synrl_ray.envs.changing_cart_pole:ChangingCartPoleEnv",
    "synrl_ray/ChangingCues-v0": "synrl_ray.envs.changing_cues:ChangingCuesEnv",
    "synrl_ray/Gridworld-v0": "synrl_ray.envs.gridworld_env:GridworldEnv",
    "synrl_ray/Maze-v0": "synrl_ray.envs.maze:MazeEnv",
    "synrl_ray/Navigation-v0": "synrl_ray.envs.navigation:NavigationEnv",
    "synrl_ray/Shower-v0": "synrl_ray.envs.shower:ShowerEnv",
    "synrl_ray/TemporalOrder-v0": "synrl_ray.envs.temporal_order:TemporalOrderEnv",
    "synrl_ray/ThetaTrack-v0": "synrl_ray.envs.theta_track:ThetaTrackEnv",
    "synrl_ray/TimeToFirstSpike-v0": "synrl_ray.envs.time_to_first_spike:TimeToFirstSpikeEnv",
}
"""Id of each environment of this project, and its class."""
_KNOWN = ("synrl_ray", "gymnasium", "ale_py")


def register_environments() -> None:
    """Register :data:`ENVIRONMENTS`, at once where Gymnasium is imported, else as soon as it is.

    ``import synrl_ray`` calls this. Gymnasium reads no entry points since its version 1.0: a package registers its
    environments when it is imported. Gymnasium itself is not imported for that: it takes longer than ``synrl --help``.
    """
    if "gymnasium" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterGymnasium())


def _register() -> None:
    from gymnasium.envs.registration import register, registry

    for env_id, entry_point in ENVIRONMENTS.items():
        if env_id not in registry:
            register(env_id, entry_point=entry_point)


class _AfterGymnasium:
    """Finds nothing by itself: has Gymnasium's own loader register the environments once it has run.

    A finder of modules by its method only: the base class would have ``import synrl_ray`` take twice as long.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of Gymnasium as the other finders say, of anything else nothing."""
        if fullname != "gymnasium":
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


def ensure_registered(env_id: str) -> None:
    """Import ale-py for an id of Atari; this project's ids are registered."""
    if env_id.startswith("ALE/"):
        importlib.import_module("ale_py")


def foreign_module(env_id: str, kwargs: Mapping[str, Any] | None = None) -> str | None:
    """The module that is imported to make this environment, unless it is the project's, Gymnasium's or ale-py's.

    Gymnasium imports ``module`` for an id ``module:Id``, and so does old Gym for the keyword argument ``env_id`` of
    Gymnasium's wrappers around it.

    Example:
        >>> foreign_module("my_package.envs:Mine-v0")
        'my_package.envs'
        >>> foreign_module("CartPole-v1") is foreign_module("gymnasium.envs:CartPole-v1") is None
        True
    """
    for name in (env_id, (kwargs or {}).get("env_id")):
        module, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
        if colon and module.partition(".")[0] not in _KNOWN:
            return module
    return None
