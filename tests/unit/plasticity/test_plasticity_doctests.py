"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import synrl_ray.plasticity
from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.settings import plasticity as config

MODULES = [f"synrl_ray.plasticity.{module.name}" for module in pkgutil.iter_modules(synrl_ray.plasticity.__path__)]
GLOBALS = {"torch": torch, "initial_state": initial_state, **vars(config)}


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = {
        name.rpartition(".")[2]
        for name in MODULES
        if any(test.examples for test in finder.find(importlib.import_module(name)))
    }
    assert {"bounds", "homeostasis", "modulation", "reward_modulated", "stdp", "teacher", "traces"} <= with_examples


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs=GLOBALS)
    assert failed == 0
