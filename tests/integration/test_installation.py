"""Every package of the project is really there, and does its job."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.meta.learn2learn_loader import load_maml


def test_atari_steps() -> None:
    import ale_py

    gym.register_envs(ale_py)
    env = gym.make("ALE/Breakout-v5")
    env.reset(seed=0)
    observation, *_ = env.step(1)
    env.close()
    assert observation.shape == (210, 160, 3)


def test_box2d_steps() -> None:
    env = gym.make("CarRacing-v3")
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.0, 1.0, 0.0], dtype=np.float32))
    env.close()
    assert observation.shape == (96, 96, 3)


def test_learn2learn_adapts_as_a_gradient_step_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 2.0)
    learner = load_maml()(model, lr=0.1).clone()
    learner.adapt(learner(torch.tensor([[3.0]])).square().sum())  # d/dw (3w)^2 = 18w = 36
    assert learner.module.weight.item() == pytest.approx(2.0 - 0.1 * 36.0)
    learner(torch.ones(1, 1)).sum().backward()
    assert model.weight.grad.item() == pytest.approx(1 - 0.1 * 18.0)  # second order: d(w - 1.8w)/dw


def test_importing_the_package_is_light() -> None:
    code = "import sys, synrl_ray; print(sorted({'torch', 'ray', 'numba', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
