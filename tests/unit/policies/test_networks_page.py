"""``docs/networks.md`` names every part that a spiking policy has, and what it shows can be done."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from synrl_ray.overrides import apply_overrides
from synrl_ray.policies.layers import NEURONS
from synrl_ray.registry import get_experiment
from synrl_ray.settings.checked import setting_types
from synrl_ray.settings.policies import SpikingPolicy

PAGE = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()
PARTS = PAGE.partition("| setting | value |")[2].partition("\n\n")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PARTS.splitlines()[2:]]
TYPES = setting_types(SpikingPolicy)


def named(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("setting", ["neuron", "recurrent", "norm", "encoder", "readout", "critic"])
def test_the_table_has_every_value_and_the_default_first(setting):
    begin = next(i for i, row in enumerate(ROWS) if row[0] == f"`{setting}`")
    values = named(ROWS[begin][1])
    for row in ROWS[begin + 1 :]:
        if row[0]:
            break
        values += named(row[1])
    assert values == list(get_args(TYPES[setting]))
    assert getattr(SpikingPolicy(), setting) == values[0]


def test_the_table_names_settings_that_there_are():
    names = {name for row in ROWS for cell in (row[0], row[3]) for name in named(cell)}
    assert names <= {field.name for field in fields(SpikingPolicy)}
    assert len(names) > 15


def test_every_neuron_is_an_entry_of_the_table_of_layers():
    assert set(get_args(TYPES["neuron"])) == {"lif", *NEURONS}


@pytest.mark.parametrize("command", re.findall(r"^\$ synrl train (.*)$", PAGE, flags=re.M))
def test_the_commands_make_an_experiment(command):
    experiment, *words = command.split()
    settings = words[words.index("--set") + 1 : words.index("--run-dir")]
    assert settings
    assert apply_overrides(get_experiment(experiment), settings) != get_experiment(experiment)


def test_the_code_runs():
    code = next(found for found in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S) if "PlasticLayers" in found)
    found: dict = {}
    exec(compile(code, "networks.md", "exec"), found)
    assert found["policy"].plastic_layers == (1, 2)
    assert found["policy"].homeostatic_layers == (1,)


def test_a_policy_may_be_set_plastic_as_the_page_says():
    (written,) = re.findall(r"--set '(spiking.plastic=[^']*)'", PAGE)
    assert apply_overrides(get_experiment("cartpole-ppo"), [written]).spiking.plastic_layers == (2,)
