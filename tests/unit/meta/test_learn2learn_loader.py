import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from synrl_ray.errors import UserError
from synrl_ray.meta.learn2learn_loader import INSTALL
from synrl_ray.meta.maml import MamlModel
from synrl_ray.settings.maml import Maml

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_a_missing_learn2learn_is_one_line_with_the_command_that_installs_it(monkeypatch, small):
    for name in [name for name in sys.modules if name.partition(".")[0] == "learn2learn"]:
        monkeypatch.delitem(sys.modules, name)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "learn2learn" else found(name))
    with pytest.raises(UserError, match=re.escape(INSTALL)) as caught:
        MamlModel(small[0], Maml(engine="learn2learn"))
    assert str(caught.value).startswith("engine 'learn2learn' needs learn2learn, which is not installed")
    MamlModel(small[0], Maml(engine="vmap"))


def test_that_command_installs_what_the_extra_asks_for():
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert extras["learn2learn"] == [INSTALL.split()[-1]]
