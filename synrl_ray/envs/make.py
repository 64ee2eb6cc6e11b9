"""Make a Gymnasium environment from an experiment's description, with errors that name the remedy."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from synrl_ray.envs.checked import RAISED, checked
from synrl_ray.envs.registration import ensure_registered
from synrl_ray.envs.time_limit import require_time_limit
from synrl_ray.errors import UserError, reason_of
from synrl_ray.settings.preprocessing import AtariFrames, CarRacingFrames, Preprocessing

_INSTALLED_BY = {
    "ale_py": "pip install ale-py",
    "Box2D": "pip install 'synrl-ray[box2d]'",
    "cv2": "pip install opencv-python-headless",
    "pygame": "pip install pygame",
}
"""What brings each module that environments may need."""


def make_environment(
    env_id: str,
    kwargs: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    training: bool = False,
    **extra: Any,
) -> gym.Env:
    """``gymnasium.make`` with the preprocessing around it, and a :class:`UserError` instead of its many exceptions.

    The environment is a :class:`~synrl_ray.envs.checked.CheckedEnv`.

    Args:
        env_id: registered id, or ``module:Id``.
        kwargs: keyword arguments of the experiment.
        preprocessing: how frames and actions are prepared.
        training: with what the preprocessing does in training only.
        extra: further ones, such as ``render_mode``.

    Raises:
        UserError: for an unknown id (with the nearest ones), a missing package, a refused argument, or missing spaces.
    """
    limit = (kwargs or {}).get("max_episode_steps")
    if isinstance(limit, int) and limit > 0:  # -1 takes it away
        require_time_limit(limit, "max_episode_steps")
    try:
        ensure_registered(env_id)
        env = _make(env_id, {**(kwargs or {}), **extra}, preprocessing, training=training)
    except UserError:
        raise
    except (gym.error.NameNotFound, gym.error.NamespaceNotFound, gym.error.VersionNotFound) as error:
        module, colon, name = env_id.rpartition(":")
        nearest = [f"{module}{colon}{near}" for near in difflib.get_close_matches(name, list(gym.registry), n=3)]
        hint = [f"did you mean {', '.join(nearest)}?"] if nearest else []
        written = f"{module} registers none of that name" if module else "a custom one is written module:Id"
        raise UserError(f"unknown environment {env_id!r}", " ".join([*hint, written])) from error
    except RAISED as error:
        missing = _missing(error)
        if missing is not None:
            problem = f"environment {env_id!r} needs {missing}, which is not installed"
            raise UserError(problem, _INSTALLED_BY[missing]) from error
        reason = reason_of(error) if isinstance(error, Exception) else f"SystemExit: {error}"
        problem = f"environment {env_id!r} cannot be made ({reason})"
        raise UserError(problem, _in_this_folder(env_id) or "check its package and arguments") from error
    for kind in ("observation_space", "action_space"):
        if not isinstance(getattr(env, kind, None), gym.Space):
            raise UserError(f"environment {env_id!r} has no {kind.replace('_', ' ')}", f"let it set self.{kind}")
    return checked(env, env_id)


def _make(env_id: str, kwargs: Mapping[str, Any], preprocessing: Preprocessing | None, *, training: bool) -> gym.Env:
    if isinstance(preprocessing, AtariFrames):
        from synrl_ray.envs.atari import make_atari  # neither ale-py nor Box2D is needed by other environments

        return make_atari(env_id, kwargs, preprocessing, training=training)
    if isinstance(preprocessing, CarRacingFrames):
        from synrl_ray.envs.car_racing import make_car_racing

        return make_car_racing(env_id, kwargs, preprocessing, training=training)
    # Gymnasium's own checker looks at the first step only, and warns where ours refuses.
    return gym.make(env_id, **{"disable_env_checker": True, **kwargs})


def _in_this_folder(env_id: str) -> str | None:
    """What helps where the module that was asked for lies in the working directory, which is not searched."""
    module, colon, _ = env_id.partition(":")
    top = module.partition(".")[0]
    if not colon or top in sys.modules or not (Path(f"{top}.py").is_file() or Path(top).is_dir()):
        return None
    return f"{top} lies in this folder, which is searched with PYTHONPATH=. before the command"


def _missing(error: BaseException | None) -> str | None:
    """The absent module of :data:`_INSTALLED_BY` that an error, or what it was raised from, is about."""
    while error is not None:
        if isinstance(error, ImportError) and error.name in _INSTALLED_BY:
            return error.name
        error = error.__cause__ or error.__context__
    return None


def environment_factory(
    env_id: str, kwargs: Mapping[str, Any], preprocessing: Preprocessing | None = None, **extra: Any
) -> Callable[[], gym.Env]:
    """A function that makes one more of these environments at each call."""
    return lambda: make_environment(env_id, kwargs, preprocessing, **extra)
