"""Evolution shared by Ray workers: the same curve for any number of them, also when one is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from command import Command, with_set
from ray.exceptions import OutOfMemoryError

from synrl_ray.evolution.strategy import Strategy
from synrl_ray.evolution.workers import Generations
from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.registry import get_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

FOUND = get_experiment("cartpole-hebbian")
assert isinstance(FOUND, EvolutionExperiment)
EXPERIMENT = replace(FOUND, algorithm=replace(FOUND.algorithm, num_pairs=12, num_episodes=2))
SMALL = ("num_pairs=6", "env_steps=20000", "interval_steps=1000", "evaluation.episodes=4", "interim_episodes=2")


def evolved(policy: str, num_workers: int, *, kill: bool = False) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Returns of three generations, the genes after them, and how many workers were replaced."""
    generations = Generations(EXPERIMENT, policy, 0, num_workers)  # type: ignore[arg-type]
    generations._at_once = 1  # several requests for each worker
    strategy = Strategy(EXPERIMENT.algorithm, 16 * 8 * (5 if policy == "ann" else 6), 0)
    returns = []
    for generation in range(3):
        if kill and generation == 1:
            worker = generations._workers[0]
            os.kill(ray.get(worker.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        found = generations.evaluate(strategy)
        strategy.update(found.returns)
        returns.append(found.returns)
    generations.close()
    return returns, strategy.genes, generations.restarts


@pytest.mark.parametrize("policy", ["ann", "spiking"])
def test_any_number_of_workers_gives_the_same_genes_and_a_killed_one_is_replaced(policy: str) -> None:
    alone, genes, _ = evolved(policy, 0)
    for workers, kill in ((1, False), (2, False), (2, True)):
        returns, others, restarts = evolved(policy, workers, kill=kill)
        assert all((a == b).all() for a, b in zip(alone, returns, strict=True))
        assert (genes == others).all()
        assert (restarts > 0) == kill


def test_a_worker_that_the_memory_monitor_has_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    get, killed = ray.get, []

    def get_once_not(request: ray.ObjectRef) -> object:
        if not killed:
            killed.append(request)
            raise OutOfMemoryError("memory on the node is low")
        return get(request)

    monkeypatch.setattr(ray, "get", get_once_not)
    returns, _, restarts = evolved("ann", 1)
    assert restarts == len(killed) == 1
    monkeypatch.undo()
    assert all((a == b).all() for a, b in zip(evolved("ann", 0)[0], returns, strict=True))


def test_the_command_trains_stops_resumes_and_judges(synrl: Callable[..., Command], tmp_path: Path) -> None:
    run, settings = str(tmp_path / "run"), with_set(*SMALL)
    command = synrl("train", "cartpole-hebbian", "--policy", "ann", "--run-dir", run, "--num-workers", "1", *settings)
    command.wait_until((tmp_path / "run" / "checkpoint").exists)
    command.end(signal.SIGINT, status=130)
    synrl("train", "--resume", run).end()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["generation"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["env_steps"] >= 20_000
    assert "Held out" in synrl("evaluate", run, "--episodes", "2").end()[0]
