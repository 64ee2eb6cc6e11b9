"""Load the part of learn2learn that is used, without the rest of it.

``import learn2learn`` runs its vision and gym packages, which ask for torchvision and the long-retired ``gym``.
MAML needs torch alone. The package object made here has no ``__init__`` run, so that its submodules import as usual.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from synrl_ray.errors import UserError

INSTALL = "set engine='vmap', or pip install --no-deps --config-settings=--build-option=build_ext learn2learn==0.2.0"
"""The option has its C files made anew: those that it ships do not compile. The packages it asks for are not needed."""


def load_maml() -> Any:
    """The class ``learn2learn.algorithms.MAML``.

    Call it in every process that uses it, and pass state dicts between processes, never MAML objects.

    Raises:
        UserError: if learn2learn is not installed.
    """
    if "learn2learn" not in sys.modules:
        spec = importlib.util.find_spec("learn2learn")
        if spec is None or spec.submodule_search_locations is None:
            raise UserError("engine 'learn2learn' needs learn2learn, which is not installed", INSTALL)
        package = ModuleType("learn2learn")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["learn2learn"] = package
    from learn2learn.algorithms.maml import MAML

    return MAML
