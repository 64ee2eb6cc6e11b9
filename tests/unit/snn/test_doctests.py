"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import synrl_ray.snn

MODULES = [f"synrl_ray.snn.{module.name}" for module in pkgutil.iter_modules(synrl_ray.snn.__path__)]


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = [
        name for name in MODULES if any(test.examples for test in finder.find(importlib.import_module(name)))
    ]
    assert {"synrl_ray.snn.networks", "synrl_ray.snn.neurons", "synrl_ray.snn.surrogate"} <= set(with_examples)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    import torch

    failed, _ = doctest.testmod(module, extraglobs={"torch": torch})
    assert failed == 0
