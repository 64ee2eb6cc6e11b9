"""Learners on a device that is not the CPU learn what those on the CPU do, and all that leaves them is on the CPU.

There is no GPU where these tests run: the device is pretended (``tests/pretend_device.py``), and refuses what a GPU
would. Kernels and speed of a GPU are not shown by this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment

TESTS = Path(__file__).parents[1]


@pytest.mark.ray
@pytest.mark.parametrize("which", ["policies", "others"])
def test_they_learn_the_same(which: str) -> None:
    path = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(TESTS / "pretend_learners.py"), which],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    differences = json.loads(done.stdout.splitlines()[-1])
    assert {name: value for name, value in differences.items() if not value < 1e-5} == {}


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_batch_in_bfloat16_moves_the_weights_nearly_as_in_float32() -> None:
    moved = {}
    for precision in ("float32", "bfloat16"):
        settings = ["spiking.hidden_sizes=16", "train_batch_size=256", "num_epochs=1", f"precision={precision}"]
        experiment = apply_overrides(get_experiment("cartpole-ppo"), settings)
        torch.manual_seed(0)
        algorithm = algorithm_config(experiment, "spiking", seed=0, num_workers=0).build_algo()
        try:
            before = _weights(algorithm)
            algorithm.train()
            moved[precision] = _weights(algorithm) - before
        finally:
            algorithm.stop()
    assert torch.isfinite(moved["bfloat16"]).all()
    assert not torch.equal(moved["bfloat16"], moved["float32"])
    assert torch.nn.functional.cosine_similarity(*moved.values(), dim=0) > 0.9


def _weights(algorithm: Any) -> torch.Tensor:
    parameters = algorithm.get_module().network.parameters()
    return torch.cat([parameter.detach().flatten().clone() for parameter in parameters])
