"""What is the same for every local rule; the rules' own tests are elsewhere."""

from typing import get_args

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.experiment import QLearning, RStdp, StdpQ
from synrl_ray.policies.local.table import AGENTS, agent_class, make_agent
from synrl_ray.settings.local import LocalSettings

RULES = get_args(get_args(LocalSettings)[0])
SPACES = {
    QLearning: spaces.Discrete(6),
    StdpQ: spaces.Discrete(6),
    RStdp: spaces.Box(0, 1, (6,), np.float32),
}


def test_table_has_every_rule_that_an_experiment_can_have():
    """A new one is a class in the settings, its folder, and a line of the table and of the union."""
    assert set(AGENTS) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_agent_is_made_from_settings_and_spaces_and_names_its_plastic_weights(rule):
    agent = make_agent(SPACES[rule], spaces.Discrete(3), settings=rule(), seed=3)
    assert type(agent) is agent_class(rule())
    assert set(agent.plastic_names) == set(agent.state_dict())
    taken = make_agent(SPACES[rule], spaces.Discrete(3), settings=rule(), seed=4, weights=agent.state_dict())
    assert all(torch.equal(weight, agent.state_dict()[name]) for name, weight in taken.state_dict().items())


def test_only_the_maze_agent_is_taught_and_acts_without_its_teacher():
    assert [agent_class(rule()).is_taught(rule()) for rule in RULES] == [False] * len(RULES)
    taught = RStdp(teach=True)
    assert agent_class(taught).is_taught(taught)
    assert agent_class(taught).untaught(taught) == RStdp()
    assert agent_class(QLearning()).untaught(QLearning(lr=0.5)) == QLearning(lr=0.5)


def test_only_q_learning_needs_a_table():
    assert {rule for rule in RULES if agent_class(rule()).needs_table} == {QLearning}
