import json

import numpy as np
import pytest
from gymnasium import spaces

from synrl_ray import load_policy
from synrl_ray.errors import UserError
from synrl_ray.experiment import QLearning
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.policies.local.table import make_agent

SPACES = (spaces.Discrete(3), spaces.Discrete(2))


@pytest.fixture
def folder(tmp_path):
    agent = make_agent(*SPACES, settings=QLearning())
    agent.q[1, 1] = 1.0
    LocalPolicy(agent, QLearning(), *SPACES).save(tmp_path)
    return tmp_path


def test_a_local_policy_acts_on_one_observation_and_on_many(folder):
    policy = load_policy(folder)
    action, state = policy.act(np.int64(1))
    assert action == 1
    assert policy.act(2, state)[0] == 0
    np.testing.assert_array_equal(policy.act(np.arange(3))[0], [0, 1, 0])
    with pytest.raises(ValueError, match="explores in training only"):
        policy.act(1, deterministic=False)
    with pytest.raises(ValueError, match="observation must be"):
        policy.act(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("classifier-1", r"holds a classifier, not a policy — load it with .*load_classifier$"),
        ("meta-1", r"holds a meta-learner, not a policy — load it with .*load_maml$"),
    ],
)
def test_what_is_no_policy_names_its_loader(tmp_path, form, message):
    (tmp_path / "policy.json").write_text(json.dumps({"format": form}))
    (tmp_path / "policy.safetensors").touch()
    with pytest.raises(UserError, match=message):
        load_policy(tmp_path)


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"holds no policy\.json"):
        load_policy(tmp_path)


def test_an_agent_starts_from_weights_that_fit(folder):
    weights = load_policy(folder).agent.state_dict()
    assert make_agent(*SPACES, settings=QLearning(), weights=weights).q[1, 1] == 1.0
    with pytest.raises(UserError, match=r"the initial policy does not fit: its \w+ is .*, not"):
        make_agent(spaces.Discrete(4), SPACES[1], settings=QLearning(), weights=weights)
