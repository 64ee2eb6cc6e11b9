import subprocess
import sys

import gymnasium as gym
import pytest

from synrl_ray.envs.make import environment_factory, make_environment
from synrl_ray.errors import UserError


class Picky(gym.Env):
    observation_space = action_space = gym.spaces.Discrete(2)

    def __init__(self, error=None):
        if error is not None:
            raise error


@pytest.fixture
def picky():
    gym.register("Picky-v0", Picky)
    yield "Picky-v0"
    del gym.registry["Picky-v0"]


def error_of(env_id, kwargs=None):
    with pytest.raises(UserError) as caught:
        make_environment(env_id, kwargs)
    assert "\n" not in str(caught.value)
    return caught.value


def test_environment_is_made_with_its_arguments():
    env = make_environment("FrozenLake-v1", {"map_name": "8x8"}, render_mode="rgb_array")
    assert env.observation_space.n == 64
    assert env.render_mode == "rgb_array"
    env.close()


def test_factory_makes_a_new_environment_at_each_call():
    make = environment_factory("CartPole-v1", {}, max_episode_steps=7)
    first, second = make(), make()
    assert first.unwrapped is not second.unwrapped
    assert first.spec.max_episode_steps == 7


@pytest.mark.parametrize(
    ("env_id", "nearest"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("CartPole-v9", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("gymnasium:CartPol-v1", "gymnasium:CartPole-v1"),
    ],
)
def test_unknown_environment_comes_with_the_nearest_names(env_id, nearest):
    error = error_of(env_id)
    assert error.message == f"unknown environment {env_id!r}"
    assert error.remedy.startswith("did you mean ")
    assert nearest in error.remedy


def test_unknown_environment_without_a_near_name_says_how_to_write_a_custom_one():
    assert error_of("Zyxwvu/Qqqq-v0").remedy == "a custom one is written module:Id"
    assert error_of("gymnasium:Qqqq-v0").remedy == "gymnasium registers none of that name"


@pytest.mark.parametrize("env_id", ["", "no spaces allowed", "nomodulehere:Foo-v0", "a:b:c-v0"])
def test_malformed_environment_is_named(env_id):
    assert error_of(env_id).message.startswith(f"environment {env_id!r} cannot be made (")


def test_refused_argument_is_named():
    error = error_of("CartPole-v1", {"gravity_on_mars": 1})
    assert error.message.startswith("environment 'CartPole-v1' cannot be made (")
    assert "gravity_on_mars" in error.message


def test_reason_of_many_lines_is_one(picky):
    assert error_of(picky, {"error": ValueError("first\nsecond")}).message.endswith("(first second)")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad value"),
        ImportError("no box2d"),
        RuntimeError("no display"),
        FileNotFoundError("no rom"),
        AttributeError("no attribute"),
        AssertionError(),
        KeyError("key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_an_environment_raises_is_reported_with_its_name(picky, error):
    assert error_of(picky, {"error": error}).message.startswith("environment 'Picky-v0' cannot be made (")


@pytest.mark.parametrize(
    ("env_id", "frames", "module", "package"),
    [
        ("ALE/Breakout-v5", "AtariFrames()", "ale_py", "ale-py"),
        ("ALE/Breakout-v5", "AtariFrames()", "cv2", "opencv-python-headless"),
        ("CarRacing-v3", "CarRacingFrames()", "Box2D", "'synrl-ray[box2d]'"),
        ("CarRacing-v3", "CarRacingFrames()", "pygame", "pygame"),
        ("CarRacing-v3", None, "Box2D", "'synrl-ray[box2d]'"),
        ("LunarLander-v3", None, "Box2D", "'synrl-ray[box2d]'"),
        ("BipedalWalker-v3", None, "Box2D", "'synrl-ray[box2d]'"),
    ],
)
def test_a_missing_package_comes_with_its_install_line(env_id, frames, module, package):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from synrl_ray.settings.preprocessing import AtariFrames, CarRacingFrames\n"
        "from synrl_ray.envs.make import make_environment\n"
        f"make_environment({env_id!r}, {{}}, {frames})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = f"environment {env_id!r} needs {module}, which is not installed — pip install {package}"
    assert done.stderr.strip().endswith(line), done.stderr


def test_a_module_in_the_working_directory_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "windy_of_mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"windy_of_mine lies in this folder, .* PYTHONPATH=\. before the command"):
        make_environment("windy_of_mine:Windy-v0")
    with pytest.raises(UserError, match="check its package and arguments"):
        make_environment("nowhere_at_all:Windy-v0")
