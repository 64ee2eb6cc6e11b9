"""A network of a user's own is trained by every algorithm, in this process and in workers of Ray's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synrl_ray import evaluate, load_policy, train
from synrl_ray.running.progress import ignore

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL = {"interval_steps": 10_000, "evaluation.episodes": 2, "spiking.network": "own_net:OwnNet"}
CASES = {
    "cartpole-ppo": {"train_batch_size": 256, "minibatch_size": 64, "num_epochs": 2, "carry_state": True},
    "cartpole-reinforce": {"spiking.normalise_observations": True},
    "cartpole-dqn": {"num_updates": 2, "learning_starts": 200},
}


@pytest.mark.parametrize("experiment", CASES)
def test_it_is_trained_and_judged(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    workers = 1 if experiment == "cartpole-ppo" else 0
    trained = train(
        experiment,
        settings=SMALL | CASES[experiment],
        stop_steps=512,
        num_workers=workers,
        run_dir=tmp_path / "run",
        watch=ignore,
    )
    first, rest = trained.metrics()[0], load_policy(tmp_path / "run", trust=True)
    assert np.isfinite(first.get("policy_loss") or first["q_loss"])
    assert rest.network.bodies[0].path == "own_net:OwnNet"
    assert evaluate(tmp_path / "run").result.figures == trained.result.figures
