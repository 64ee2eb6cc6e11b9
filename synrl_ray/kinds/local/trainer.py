"""The trainer of local agents: an RLlib algorithm without gradients, and an agent that is judged exactly."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synrl_ray.experiment import LocalExperiment
from synrl_ray.kinds.acting import interim_evaluation
from synrl_ray.kinds.local.exact import ExactJudge, Greedy, exact_judge
from synrl_ray.kinds.local.result import distributions_of, finish
from synrl_ray.kinds.rllib_trainer import RLlibTrainer, build, finite
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.parallel_evaluation import Judging
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec


class LocalTrainer(RLlibTrainer):
    """Trains an agent that learns where it acts."""

    experiment: LocalExperiment

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.algorithms.local import local_config

        self.spec = spec
        self.experiment = spec.experiment_as(LocalExperiment)
        self.total = self.experiment.stopping.env_steps
        self.interval = self.experiment.evaluation.interval_steps
        self.judge = exact_judge(self.experiment.environment)
        self.algorithm = build(
            local_config(
                self.experiment, seed=spec.seed, num_workers=spec.num_workers, has_table=self.judge is not None
            )
        )

    def judging(self) -> Judging:
        """The exact score of the greedy policy; where there is no table, greedy episodes."""
        experiment, policy = self.experiment, self.policy()
        if self.judge is None:
            return partial(interim_evaluation, policy, experiment.environment, experiment.evaluation)
        return partial(exact_evaluation, self.judge, policy.agent)

    def distributions(self) -> dict[str, np.ndarray]:
        """Weights, and greedy spikes of all states."""
        return distributions_of(self.policy().agent, self.judge)

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether the exact regret allows training to end."""
        wanted, reached = self.experiment.stopping.regret, row.get("evaluation_regret")
        return wanted is not None and reached is not None and reached <= wanted

    def policy(self) -> LocalPolicy:
        """The policy as it is now."""
        module = self.algorithm.get_module()
        return LocalPolicy(module.agent, self.experiment.algorithm, module.observation_space, module.action_space)

    def export(self, folder: Path) -> None:
        """The policy with the environment that it was trained on."""
        environment = self.experiment.environment
        self.policy().save(
            folder,
            experiment=self.experiment.id,
            environment={"id": environment.id, "kwargs": dict(environment.kwargs)},
        )

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Judge by the experiment's protocol, and exactly."""
        return finish(folder, self.spec, self.trained, position, self.judge)


def exact_evaluation(judge: ExactJudge, agent: Greedy) -> dict[str, float]:
    """What a row says of an exact score; it may be infinite without a limit."""
    found = {f"evaluation_{name}": finite(value) for name, value in asdict(judge.score(agent)).items()}
    return {name: value for name, value in found.items() if value is not None}
