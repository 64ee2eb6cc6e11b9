"""Training on images with channels last equals training on the same images with their axes moved by hand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.experiment import A2C, DQN, AnnPolicy, Environment, Experiment, SpikingPolicy, Stopping

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SHAPE = (12, 10, 3)
LAYOUT: dict[str, Any] = {"conv_layers": ((4, 4, 2), (6, 3, 1)), "hidden_sizes": (16,)}
POLICIES: dict[str, Any] = {
    "spiking": SpikingPolicy(**LAYOUT, steps_per_observation=2, input_gain=8.0),
    "ann": AnnPolicy(**LAYOUT),
}


class Colours(gym.Env):
    """A noisy image of one colour, and a reward for its number."""

    action_space = spaces.Discrete(3)

    def __init__(self, *, channels_last: bool) -> None:
        self.channels_last = channels_last
        shape = SHAPE if channels_last else (SHAPE[2], *SHAPE[:2])
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        reward = float(action == self.colour)
        return self._observe(), reward, self.steps == 8, False, {}

    def _observe(self) -> np.ndarray:
        self.colour = int(self.np_random.integers(3))
        image = self.np_random.integers(0, 60, SHAPE).astype(np.uint8)
        image[..., self.colour] += 150
        return image if self.channels_last else np.ascontiguousarray(image.transpose(2, 0, 1))


gym.register("ColoursLast-v0", Colours, kwargs={"channels_last": True})
gym.register("ColoursFirst-v0", Colours, kwargs={"channels_last": False})


@pytest.mark.parametrize(
    "algorithm",
    [A2C(num_steps=16), DQN(train_batch_size=16, learning_starts=64, replay_capacity=1000, num_updates=16)],
    ids=lambda algorithm: algorithm.name,
)
@pytest.mark.parametrize("kind", POLICIES)
def test_the_same_is_learned_whichever_axis_has_the_channels(algorithm: A2C | DQN, kind: Any) -> None:
    learned = []
    for name in ("ColoursLast-v0", "ColoursFirst-v0"):
        experiment = Experiment(
            id="colours",
            summary="colours",
            environment=Environment(id=name, num_envs=4),
            spiking=POLICIES["spiking"],
            ann=POLICIES["ann"],
            algorithm=algorithm,
            stopping=Stopping(env_steps=10_000),
        )
        built = algorithm_config(experiment, kind, seed=3, num_workers=0).build_algo()
        try:
            before = {name: tensor.clone() for name, tensor in built.get_module().network.state_dict().items()}
            built.train()
            after = built.get_module().network.state_dict()
            assert any(not torch.equal(before[name], after[name]) for name in before)
            learned.append({name: tensor.clone() for name, tensor in after.items()})
        finally:
            built.stop()
    last, first = learned
    for name, tensor in first.items():
        torch.testing.assert_close(last[name], tensor, rtol=0, atol=1e-4, msg=lambda told, name=name: f"{name}: {told}")
