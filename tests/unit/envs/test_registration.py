import subprocess
import sys

import gymnasium as gym
import pytest

from synrl_ray.envs.registration import ensure_registered

SHOWER = "synrl_ray/Shower-v0"


def test_shower_is_registered_by_its_prefix_in_a_fresh_process():
    script = (
        "import gymnasium as gym; from synrl_ray.envs.registration import ensure_registered; "
        f"assert '{SHOWER}' not in gym.registry; ensure_registered('{SHOWER}'); "
        f"assert '{SHOWER}' in gym.registry; import sys; assert not {{'ale_py', 'ray', 'torch'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_atari_is_registered_by_its_prefix():
    pytest.importorskip("ale_py")
    ensure_registered("ALE/Pong-v5")
    assert "ALE/Pong-v5" in gym.registry


def test_registering_twice_and_other_names_change_nothing(recwarn):
    ensure_registered(SHOWER)
    before = dict(gym.registry)
    for env_id in (SHOWER, "CartPole-v1", "module:Id-v0", ""):
        ensure_registered(env_id)
    assert dict(gym.registry) == before
    assert not recwarn.list
