"""What a run of control is checked for before Ray starts."""

from dataclasses import replace

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from synrl_ray.errors import UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec

CARTPOLE = get_experiment("cartpole-ppo")


def spec_of(environment):
    return RunSpec(experiment=replace(CARTPOLE, environment=environment), policy="ann", seed=0, num_workers=0)


def test_check_passes_what_can_run_and_names_what_cannot():
    assert KIND.check(spec_of(CARTPOLE.environment)) is None
    gym.register("Words-v0", WordyCartPole)
    with pytest.raises(UserError, match="Words-v0 has the observation space Text"):
        KIND.check(spec_of(replace(CARTPOLE.environment, id="Words-v0")))
    with pytest.raises(UserError, match="unknown environment 'Nonsense-v0'"):
        KIND.check(spec_of(replace(CARTPOLE.environment, id="Nonsense-v0")))
    gym.register("Column-v0", ColumnCartPole)
    with pytest.raises(UserError, match=r"^environment 'Column-v0' failed: step\(\) returned an observation of shape"):
        KIND.check(spec_of(replace(CARTPOLE.environment, id="Column-v0")))


class WordyCartPole(CartPoleEnv):
    """It says what no policy reads."""

    def __init__(self):
        super().__init__()
        self.observation_space = gym.spaces.Text(5)


class ColumnCartPole(CartPoleEnv):
    """Its observation is a column vector from the first step on."""

    def step(self, action):
        observation, *rest = super().step(action)
        return observation[:, None], *rest
