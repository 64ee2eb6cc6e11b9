import importlib
import subprocess
import sys

import gymnasium as gym
import pytest

import synrl_ray
from synrl_ray.envs.registration import ENVIRONMENTS, ensure_registered

_CAPTURED = {"capture_output": True, "text": True, "check": True}
USE_ALL = """
import sys
for env_id in {ids}:
    env = gymnasium.make({prefix!r} + env_id)
    env.reset(seed=0)
    env.step(env.action_space.sample())
assert env_id in gymnasium.registry
print(sorted({{"torch", "ray", "numba", "ale_py"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("imports", "prefix"),
    [
        ("import gymnasium", "synrl_ray:"),
        ("import gymnasium, synrl_ray", ""),
        ("import synrl_ray, gymnasium", ""),
        ("import importlib.util, synrl_ray; importlib.util.find_spec('gymnasium'); import gymnasium", ""),
        ("import synrl_ray; from gymnasium.spaces import Box; import gymnasium", ""),
    ],
)
def test_a_fresh_process_makes_every_environment_by_gymnasium_alone(imports, prefix):
    code = imports + USE_ALL.format(ids=list(ENVIRONMENTS), prefix=prefix)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_gymnasium_that_does_not_import_is_registered_with_at_the_next_try():
    code = (
        "import sys, synrl_ray; sys.modules['numpy'] = None\n"
        "try:\n    import gymnasium\nexcept ImportError:\n    del sys.modules['numpy']\n"
        "import gymnasium; gymnasium.spec('synrl_ray/Maze-v0'); print(len(sys.meta_path))"
    )
    plain = subprocess.run([sys.executable, "-c", "import sys, gymnasium; print(len(sys.meta_path))"], **_CAPTURED)
    assert subprocess.run([sys.executable, "-c", code], **_CAPTURED).stdout == plain.stdout


def test_without_gymnasium_the_package_still_imports():
    code = (
        "import sys, synrl_ray\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if f.__class__.__name__ == '_AfterGymnasium']\n"
        "try:\n    import gymnasium\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    )
    assert subprocess.run([sys.executable, "-c", code], **_CAPTURED).stdout == "gymnasium\n"


def test_atari_is_registered_by_its_prefix():
    pytest.importorskip("ale_py")
    ensure_registered("ALE/Pong-v5")
    assert "ALE/Pong-v5" in gym.registry


def test_registering_again_and_other_names_change_nothing(recwarn):
    before = dict(gym.registry)
    importlib.reload(synrl_ray)
    for env_id in (*ENVIRONMENTS, "CartPole-v1", "module:Id-v0", ""):
        ensure_registered(env_id)
    assert dict(gym.registry) == before
    assert not recwarn.list
