"""The examples in all packages' docstrings run as a reader would type them, and print what they say."""

import doctest
import importlib.util
import pkgutil
from pathlib import Path

import pytest

import synrl_ray

MODULES = [m.name for m in pkgutil.walk_packages(synrl_ray.__path__, "synrl_ray.") if not m.name.endswith("__main__")]


def with_examples() -> list[str]:
    return [name for name in MODULES if ">>> " in Path(importlib.util.find_spec(name).origin).read_text()]


@pytest.mark.parametrize("name", with_examples())
def test_examples(name):
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("package", ["algorithms", "envs", "meta", "plasticity", "policies", "settings", "snn"])
def test_a_package_that_is_used_from_python_shows_how(package):
    assert any(name.startswith(f"synrl_ray.{package}.") for name in with_examples())
