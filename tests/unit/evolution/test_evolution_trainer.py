"""The trainer of evolved policies."""

import json
from dataclasses import replace
from pathlib import Path

from synrl_ray.kinds.evolution.trainer import EvolutionTrainer
from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec

FOUND = get_experiment("cartpole-hebbian")
EXPERIMENT = replace(FOUND, algorithm=replace(FOUND.algorithm, num_pairs=2, num_episodes=1))


def trainer() -> EvolutionTrainer:
    return EvolutionTrainer(RunSpec(experiment=EXPERIMENT, policy="ann", seed=0, num_workers=0))


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, rest = trainer(), trainer()
    whole.train_once()
    whole.generations.restarts = 2  # as if workers had died
    whole.save(tmp_path / "checkpoint")
    rest.restore(tmp_path / "checkpoint")
    assert rest.train_once() == whole.train_once()
    assert rest.generations.restarts == 2
    assert (rest.strategy.genes == whole.strategy.genes).all()


def test_a_checkpoint_from_before_restarts_were_kept_goes_on(tmp_path: Path) -> None:
    made = trainer()
    made.train_once()
    made.save(tmp_path / "checkpoint")
    counts = json.loads((tmp_path / "checkpoint" / "counts.json").read_text())
    del counts["worker_restarts"]
    (tmp_path / "checkpoint" / "counts.json").write_text(json.dumps(counts))
    rest = trainer()
    rest.restore(tmp_path / "checkpoint")
    assert (rest.env_steps, rest.generations.restarts) == (made.env_steps, 0)
