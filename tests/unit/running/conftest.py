"""The loop around RLlib, with a stand-in for the algorithm."""

from types import SimpleNamespace

import numpy as np
import pytest
from stand_in import StandIn

from synrl_ray.evaluation.episodes import EvaluationResult
from synrl_ray.kinds import acting
from synrl_ray.kinds.control import result
from synrl_ray.kinds.control import trainer as control
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.training import train_run


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Runs a specification; keeps the stand-ins, what was told to the watcher and what was evaluated."""
    lab = SimpleNamespace(stand_in=StandIn, algorithms=[], told=[], evaluated=[], at={}, protocol={})
    lab.score = lambda count: 5.0

    def build(spec):
        lab.algorithms.append(lab.stand_in(tmp_path / "logdir", lab.at))
        return lab.algorithms[-1]

    def evaluate(policy, environment, *, episodes, seed):
        lab.evaluated.append((seed, episodes))
        returns = np.full(episodes, lab.score(len(lab.evaluated)))
        protocol = {"environment": "CartPole-v1", "first_seed": seed, **lab.protocol}
        return EvaluationResult(returns, np.ones(episodes, np.int64), ("",) * episodes, episodes, 0.1, protocol)

    def judge(policy, make_env, *, episodes, seed, max_parallel, deterministic=True):
        found = evaluate(policy, make_env, episodes=episodes, seed=seed)
        if not deterministic:
            lab.evaluated.pop()
        return found

    def run(spec=None):
        folder = RunFolder(tmp_path / "run")
        if not folder.path.exists():
            RunFolder.create(folder.path, spec)
        lab.folder = folder
        return train_run(folder, folder.spec(), KIND, lab.told.append)

    monkeypatch.setattr(control, "configure", lambda spec: spec)
    monkeypatch.setattr(control, "build", build)
    monkeypatch.setattr(acting, "evaluate_in", evaluate)
    monkeypatch.setattr(result, "evaluate_policy", judge)
    lab.run = run
    return lab
