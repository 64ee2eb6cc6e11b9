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


def load_maml() -> Any:
    """The class ``learn2learn.algorithms.MAML``.

    Call it in every process that uses it, and pass state dicts between processes, never MAML objects.

    Raises:
        UserError: if learn2learn is not installed.
    """
    if "learn2learn" not in sys.modules:
        spec = importlib.util.find_spec("learn2learn")
        if spec is None or spec.submodule_search_locations is None:
            raise UserError("learn2learn is not installed", "run `make setup`")
        package = ModuleType("learn2learn")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["learn2learn"] = package
    from learn2learn.algorithms.maml import MAML

    return MAML
