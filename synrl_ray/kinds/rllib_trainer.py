"""What trainers with RLlib algorithms share."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synrl_ray.envs.time_limit import MOST_STEPS
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment, Experiment, LocalExperiment
from synrl_ray.kinds.acting import EPISODES_CUT
from synrl_ray.running.kind import Measured
from synrl_ray.running.parallel_evaluation import Columns, Judging

if TYPE_CHECKING:
    from ray.rllib.algorithms import Algorithm
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


class RLlibTrainer:
    """Trains with an RLlib algorithm."""

    algorithm: Algorithm
    experiment: Experiment | LocalExperiment

    _cuts: Literal["none", "some", "told"] = "none"
    """Whether episodes were cut because their environment sets no time limit."""

    def train_once(self) -> Measured:
        """One iteration of RLlib; only what a row needs of its nested result."""
        result = self.algorithm.train()
        runners = result["env_runners"]
        self._note_cuts(int(finite(runners.get("num_episodes_cut")) or 0))
        notices = tuple(self.algorithm.faults.take_notices()) if hasattr(self.algorithm, "faults") else ()
        rates, told = self.algorithm.activity.take() if hasattr(self.algorithm, "activity") else ({}, ())
        notices = (*notices, *told)
        if self._cuts == "some":
            self._cuts = "told"
            notices = (*notices, _CUTS)
        return Measured(
            steps=int(result["num_env_steps_sampled_lifetime"]),
            episodes=int(finite(runners.get("num_episodes")) or 0),  # NaN where none ended after a restart
            row={
                "return_mean": finite(runners.get("episode_return_mean")),
                "episode_length_mean": finite(runners.get("episode_len_mean")),
                **self._own_columns(result),
                **{name: finite(rate) for name, rate in rates.items()},
                **{f"plasticity_{name}": finite(value) for name, value in runners.get("plasticity", {}).items()},
                **{name: int(finite(result.get(f"num_{name}")) or 0) for name in ("env_failures", "runner_restarts")},
                **{
                    f"seconds_{name}": finite(where.get("seconds", {}).get(name))
                    for name, where in (("environment", runners), ("policy", runners), ("learner", result))
                },
            },
            notices=notices,
        )

    def evaluate(self) -> Columns:
        """Judge here and now."""
        columns = self.judging()()
        self.note_evaluation(columns)
        return columns

    def snapshot(self) -> Judging | None:
        """The same for another process, where the experiment says so."""
        return self.judging() if self.experiment.evaluation.parallel_to_training else None

    def note_evaluation(self, columns: Columns) -> None:
        """Whether episodes were cut."""
        self._note_cuts(int(columns.get(EPISODES_CUT) or 0))

    def judging(self) -> Judging:
        """What judges the policy; it carries it with it, and all else that it needs."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """RLlib's checkpoint."""
        self.algorithm.save_to_path(path.absolute())

    def restore(self, path: Path) -> None:
        """From RLlib's checkpoint."""
        self.algorithm.restore_from_path(path.absolute())

    def policy(self) -> Any:
        """The policy as it is now."""
        raise NotImplementedError

    def distributions(self) -> Mapping[str, np.ndarray]:
        """None."""
        return {}

    def optimizers(self) -> list[Any]:
        """Those of the learner in this process; the algorithm may have none, or learners elsewhere."""
        learner = self.algorithm.learner_group._learner
        modules = [] if learner is None else learner.module.keys()
        return [pair[1] for name in modules for pair in learner.get_optimizers_for_module(name)]

    def close(self) -> None:
        """Stop the actors; those that a second Ctrl-C leaves end with Ray's session."""
        try:
            try:
                self.trained = self.policy()
            finally:
                self.algorithm.stop()
        finally:
            # RLlib would stop learners once more when the group is deleted, and start another Ray for that.
            self.algorithm.learner_group._is_shut_down = True
            shutil.rmtree(self.algorithm.logdir, ignore_errors=True)  # RLlib's own, beside the run folder and empty

    def _note_cuts(self, number: int) -> None:
        if number and self._cuts == "none":
            self._cuts = "some"

    def _own_columns(self, result: dict[str, Any]) -> dict[str, float | None]:
        """Columns that only this kind of run has."""
        return {}


_CUTS = (
    f"the environment sets no time limit: episodes are cut after {MOST_STEPS:,} steps "
    '(set environment.kwargs={"max_episode_steps": N} for another number)'
)


def build(config: AlgorithmConfig) -> Any:
    """The algorithm, with RLlib's log kept quiet."""
    from synrl_ray.snn.device import compute_alone

    compute_alone()
    logging.getLogger("ray.rllib").setLevel(logging.CRITICAL)  # what goes wrong arrives as an exception
    algorithm = config.build_algo()
    logging.getLogger("ray.rllib").setLevel(logging.CRITICAL)  # building it has set its own
    return algorithm


def check_shares(environment: Environment, num_workers: int) -> None:
    """Raise :class:`UserError` if the environments cannot be divided among the workers."""
    num_envs, workers = environment.num_envs, max(1, num_workers)
    if num_envs % workers:
        raise UserError(
            f"{num_envs} environments cannot be shared by {workers} workers", "set num_envs to a multiple of them"
        )


def finite(value: Any) -> float | None:
    """A number, or ``None`` for NaN and infinity, which JSON does not have."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)
