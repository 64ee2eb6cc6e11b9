import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from synrl_ray.errors import UserError
from synrl_ray.sampling.vector import make_vector


class TwoSteps(gym.Env):
    """Ends after two steps; the observation counts them."""

    observation_space = gym.spaces.Box(0, 2, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, reward=1.0):
        self.metadata = {"render_modes": []}
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), self.reward, self.count == 2, False, {}


class Closing(SyncVectorEnv):
    closed_by_hand = 0

    def close_extras(self, **kwargs):
        type(self).closed_by_hand += 1


def vector_of(mode):
    return lambda num_envs, **kwargs: Closing([lambda: TwoSteps(**kwargs)] * num_envs, autoreset_mode=mode)


@pytest.fixture
def env_ids():
    gym.register("TwoSteps-v0", TwoSteps)
    modes = {mode: f"TwoSteps{mode.name.title().replace('_', '')}-v0" for mode in AutoresetMode}
    for mode, env_id in modes.items():
        gym.register(env_id, TwoSteps, vector_entry_point=vector_of(mode))
    yield modes
    for env_id in ("TwoSteps-v0", *modes.values()):
        del gym.registry[env_id]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_another_way_of_resetting_is_refused_by_name_with_the_remedy_and_closed(env_ids, mode):
    before = Closing.closed_by_hand
    with pytest.raises(UserError) as caught:
        make_vector(env_ids[mode], {}, 2)
    assert caught.value.message == f"{env_ids[mode]} resets in the mode {mode}"
    assert caught.value.remedy == "its vector form has to reset on the next step"
    assert Closing.closed_by_hand == before + 1


def test_the_environments_own_vector_form_is_used_with_its_arguments(env_ids):
    envs = make_vector(env_ids[AutoresetMode.NEXT_STEP], {"reward": 3.0}, 2)
    assert isinstance(envs, Closing)
    envs.reset(seed=0)
    assert envs.step(np.zeros(2, np.int64))[1].tolist() == [3.0, 3.0]
    envs.close()


def test_without_a_vector_form_n_environments_are_stepped_and_reset_on_the_next_step(env_ids):
    envs = make_vector("TwoSteps-v0", {}, 3)
    assert envs.num_envs == 3
    assert envs.reset(seed=0)[0].tolist() == [[0.0]] * 3
    seen = [envs.step(np.zeros(3, np.int64)) for _ in range(4)]
    assert [step[0][0, 0] for step in seen] == [1, 2, 0, 1]  # the final observation is seen before the reset
    assert [bool(step[2][0]) for step in seen] == [False, True, False, False]
    assert [step[1][0] for step in seen] == [1, 1, 0, 1]
    envs.close()


def test_environments_of_this_project_need_no_import():
    envs = make_vector("synrl_ray/Shower-v0", {"noise": False}, 2)
    assert isinstance(envs, VectorEnv)
    assert envs.single_observation_space.shape == (2,)
    envs.close()


@pytest.mark.parametrize(
    "kwargs", [{"max_episode_steps": -1}, {"max_episode_steps": None}, {"disable_env_checker": True}]
)
def test_what_only_gymnasiums_make_takes_means_the_same_for_many(kwargs):
    envs = make_vector("CartPole-v1", kwargs, 2)
    envs.reset(seed=[0, 1])
    for _ in range(5):
        _, rewards, terminated, truncated, _ = envs.step(np.array([0, 1]))
        assert (rewards.tolist(), terminated.any(), truncated.any()) == ([1.0, 1.0], False, False)
    envs.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Gymnasium's, of what is half-made
def test_an_argument_that_the_vector_form_does_not_take_is_one_line():
    with pytest.raises(UserError, match=r"the vector form of CartPole-v1 cannot be made \(.*colour"):
        make_vector("CartPole-v1", {"colour": 3}, 2)
