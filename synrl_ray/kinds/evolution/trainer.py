"""The trainer of evolved policies: a strategy, and the workers that evaluate its generations."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.kinds.acting import described_environment, interim_evaluation
from synrl_ray.kinds.evolution.result import finish
from synrl_ray.policies.hebbian.policy import HebbianPolicy
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.kind import Measured
from synrl_ray.running.parallel_evaluation import Columns, Judging
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

_GENES, _COUNTS = "strategy.safetensors", "counts.json"
_MOST_BYTES = 2**31


class EvolutionTrainer:
    """Evolves genes; an iteration is a generation. Checkpoints are tensors and numbers."""

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.evolution.individuals import Individuals
        from synrl_ray.evolution.strategy import Strategy
        from synrl_ray.evolution.workers import Generations  # imports Ray, which judging does without

        self.spec, self.experiment = spec, spec.experiment_as(EvolutionExperiment)
        self.total, self.interval = self.experiment.stopping.env_steps, self.experiment.evaluation.interval_steps
        own = Individuals(self.experiment, spec.policy, spec.seed)
        self.layout = own.layout
        own.close()
        self.strategy = Strategy(self.experiment.algorithm, self.layout.num_genes, spec.seed)
        self.generations = Generations(self.experiment, spec.policy, spec.seed, spec.num_workers)
        self.env_steps = 0

    def train_once(self) -> Measured:
        """One generation."""
        settings = {"sigma": self.strategy.sigma, "lr": self.strategy.lr}
        found = self.generations.evaluate(self.strategy)
        norm = self.strategy.update(found.returns)
        scores = found.returns.mean(2)
        self.env_steps += found.env_steps
        row: dict[str, float | None] = {
            "generation": self.strategy.generation,
            "return_mean": float(scores.mean()),
            "return_max": float(scores.max()),
            "return_min": float(scores.min()),
            "episode_length_mean": found.env_steps / found.episodes,
            "gradient_norm": norm,
            "gene_norm": float(np.linalg.norm(self.strategy.genes)),
            **settings,
            "worker_restarts": self.generations.restarts,
        }
        return Measured(steps=self.env_steps, episodes=found.episodes, row=row)

    def evaluate(self) -> Columns:
        """Judge here and now."""
        return self._judging()()

    def snapshot(self) -> Judging | None:
        """The same for another process, where the experiment says so."""
        return self._judging() if self.experiment.evaluation.parallel_to_training else None

    def note_evaluation(self, columns: Columns) -> None:
        """Nothing follows."""

    def distributions(self) -> dict[str, np.ndarray]:
        """What is evolved, by its parts."""
        return self.layout.split(self.strategy.genes)

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether the mean return of an evaluation allows evolution to end."""
        wanted, reached = self.experiment.stopping.mean_return, row.get("evaluation_return_mean")
        return wanted is not None and reached is not None and reached >= wanted

    def optimizers(self) -> list[Any]:
        """None of torch's."""
        return []

    def save(self, path: Path) -> None:
        """Genes, moments and counts."""
        path.mkdir()
        tensors = {"genes": self.strategy.genes, "moments": self.strategy.moments}
        write_atomically(path / _GENES, save(tensors))
        counts = {
            "generation": self.strategy.generation,
            "env_steps": self.env_steps,
            "worker_restarts": self.generations.restarts,
        }
        write_atomically(path / _COUNTS, json.dumps(counts) + "\n")

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        found = load(read_bounded(path / _GENES, _MOST_BYTES))
        counts = json.loads(read_bounded(path / _COUNTS, 1024))
        if found["genes"].shape != self.strategy.genes.shape or found["moments"].shape != self.strategy.moments.shape:
            raise ValueError("its genes are those of another network")
        self.strategy.genes, self.strategy.moments = found["genes"].copy(), found["moments"].copy()
        self.strategy.generation, self.env_steps = int(counts["generation"]), int(counts["env_steps"])
        self.generations.restarts = int(counts.get("worker_restarts", 0))  # older checkpoints do not know

    def export(self, folder: Path) -> None:
        """The policy with the environment that it was evolved in, and what was held out."""
        self.policy().save(
            folder,
            experiment=self.experiment.id,
            environment=described_environment(self.experiment.environment),
            held_out=dict(self.experiment.held_out),
        )

    def close(self) -> None:
        """End the workers."""
        self.generations.close()

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Judge by the experiment's protocol."""
        return finish(folder, self.spec, self.policy(), position)

    def policy(self) -> HebbianPolicy:
        """The policy as it is now: the genes that individuals are drawn around."""
        return HebbianPolicy(self.layout, self.strategy.genes)

    def _judging(self) -> Judging:
        protocol = self.experiment.evaluation
        policy = self.policy().anew(protocol.first_seed + protocol.episodes)
        return partial(interim_evaluation, policy, self.experiment.environment, protocol)
