"""Learners and policies judged on tasks that no training has seen, an object for each of the two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from synrl_ray.errors import NonFiniteError
from synrl_ray.evaluation.adaptation_figure import AdaptedTask, draw_adaptation
from synrl_ray.experiment import MetaExperiment
from synrl_ray.kinds.meta.comparison import finish_comparison
from synrl_ray.kinds.meta.scores import TaskScores, numbered, result_of
from synrl_ray.meta.families import Family, family_of
from synrl_ray.meta.judging import judge, scores_of
from synrl_ray.meta.maml import MamlModel, batch_norms
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.maml_trajectories import TrajectoryPolicy
from synrl_ray.meta.policy_judging import judge_policies, relative_regret
from synrl_ray.meta.return_judging import judge_returns
from synrl_ray.meta.tasks import Split
from synrl_ray.results import Result
from synrl_ray.settings.meta import AnyTasks, Learner

_DRAWN_TASKS, _DRAWN_STEPS = 4, (0, 1, 3)
_RATE_FACTORS, _TASKS_FOR_RATES = (1.0, 3.0, 10.0, 30.0), 20
"""Inner rates of an untrained policy, in units of the learner's first one, and how many validation tasks choose."""


def statistics_of(maml: MamlModel) -> dict[str, str]:
    """For the protocol: whose statistics batch norm took, where there is any and they were not the queries' own."""
    by = maml.config.query_statistics
    return {} if by == "queries" or not batch_norms(maml.model) else {"query_statistics": by}


class Judge(ABC):
    """Judges one learner on one family of tasks.

    Args:
        maml: the meta-learner.
        learner: its network's settings.
        family: of the tasks.
    """

    more_steps: ClassVar[int] = 0
    """Inner steps beyond those of the score, to see whether adaptation goes on."""

    def __init__(self, maml: Any, learner: Learner, family: Family[Any]) -> None:
        self.maml, self.learner, self.family = maml, learner, family
        self.tasks: Any = family.distribution()

    def on_test_tasks(self, experiment: str | None, num_tasks: int, inner_steps: int) -> Result:
        """The result of adaptation to test tasks, beside that of the learner as it was made."""
        found = self._test_scores(self.maml, num_tasks, inner_steps)
        untrained, control = TaskScores({}), None
        with suppress(NonFiniteError):  # what was not trained for it need not survive adaptation
            control = self.untrained(inner_steps)
            untrained = self._test_scores(control, num_tasks, inner_steps)
        copies = numbered(self.family.identities("test", num_tasks))
        protocol = {
            "data": self.family.data,
            "tasks": self.family.size,
            "test_tasks": num_tasks,
            "distinct_tasks": len(set(copies)),
            "inner_steps": inner_steps,
            **self.more_of_protocol(),
        }
        if control is not None and control.config.inner_lr != self.maml.config.inner_lr:
            protocol["untrained_inner_lr"] = control.config.inner_lr
        return result_of(found, self.learner.kind, experiment, protocol, untrained=untrained, copies=copies)

    def _test_scores(self, maml: Any, num_tasks: int, inner_steps: int) -> TaskScores:
        """With further steps than count, or without them where they lead to what is not finite."""
        if self.more_steps:
            with suppress(NonFiniteError):
                return self.scores(maml, "test", num_tasks, inner_steps + self.more_steps)
        return self.scores(maml, "test", num_tasks, inner_steps)

    def on_validation_tasks(self, num_tasks: int, inner_steps: int) -> dict[str, float | None]:
        """Means over tasks during training."""
        found = self.scores(self.maml, "validation", num_tasks, inner_steps)
        return {name: float(values[:, inner_steps].double().mean()) for name, values in found.by_name.items()}

    def untrained(self, inner_steps: int) -> Any:
        """The learner as it was made, which learns a task from scratch with as much experience."""
        return self.family.untrained(self.learner, self.maml.config)

    @abstractmethod
    def scores(self, maml: Any, split: Split, num_tasks: int, inner_steps: int) -> TaskScores:
        """What the first tasks of a split give, after each number of inner steps.

        Raises:
            NonFiniteError: if adaptation leads to what is not finite.
        """

    def more_of_protocol(self) -> dict[str, Any]:
        """What else belongs to the protocol."""
        return {}

    def compare(
        self, experiment: MetaExperiment, meta_iterations: int, folder: Path, title: str
    ) -> dict[str, Any] | None:
        """What a comparison that the experiment asks for has given."""
        return None

    @abstractmethod
    def draw(self, folder: Path, title: str) -> None:
        """Draw pictures of its own, if it has some."""


class _LearnerJudge(Judge):
    """Of learners of examples: by loss, and by accuracy where there are classes."""

    def draw(self, folder: Path, title: str) -> None:
        """None."""

    def scores(self, maml: Any, split: Split, num_tasks: int, inner_steps: int) -> TaskScores:
        return TaskScores(scores_of(judge(maml, self.tasks, split, num_tasks, inner_steps)))

    def more_of_protocol(self) -> dict[str, Any]:
        return statistics_of(self.maml)

    def on_validation_tasks(self, num_tasks: int, inner_steps: int) -> dict[str, float | None]:
        with suppress(NonFiniteError):  # adapting by more steps than in training may diverge at first
            return super().on_validation_tasks(num_tasks, inner_steps)
        return {"loss": None}


class _PolicyJudge(Judge):
    """Of policies on gridworlds: by exact regret."""

    more_steps = 2

    def scores(self, maml: Any, split: Split, num_tasks: int, inner_steps: int) -> TaskScores:
        found = judge_policies(maml, self.tasks, split, num_tasks, inner_steps)
        return TaskScores({"regret": found.greedy, "regret_stochastic": found.stochastic}, found.env_steps)

    def more_of_protocol(self) -> dict[str, Any]:
        return {
            "episodes_per_step": self.maml.config.episodes,
            "regret": "exact, without shaping or discount, as a share of the optimal return; of the greedy policy",
            "regret_stochastic": "the same, of actions drawn by the policy",
        }

    def compare(
        self, experiment: MetaExperiment, meta_iterations: int, folder: Path, title: str
    ) -> dict[str, Any] | None:
        if experiment.comparison is None:
            return None
        return finish_comparison(
            self.maml,
            self.learner,
            self.family,
            experiment.comparison,
            folder,
            meta_tasks=meta_iterations * experiment.algorithm.meta_batch,
            num_tasks=experiment.evaluation.tasks,
            title=title,
        )

    def draw(self, folder: Path, title: str) -> None:
        """Where the policy goes on a few test tasks with goals of their own."""
        from synrl_ray.envs.gridworld_visits import expected_visits

        seeds = _seeds_of_goals(self.tasks.sample("test", range(50)).grids.goals.tolist())
        batch, settings = self.tasks.sample("test", seeds), self.family.settings
        experience = self.maml.play(batch, num_steps=max(_DRAWN_STEPS), judged=False)
        policies = [experience.policies[steps].double().softmax(-1) for steps in _DRAWN_STEPS]
        visits = [expected_visits(batch.grids, policy).numpy() for policy in policies]
        regrets = relative_regret(batch.grids, policies).tolist()
        drawn = [
            AdaptedTask(
                free=batch.grids.free[i].numpy(),
                goal=divmod(int(batch.grids.goals[i]), settings.columns),
                start=_only_start(batch.grids.initial[i], settings.columns),
                visits=[v[i].reshape(settings.rows, settings.columns) for v in visits],
                regrets=regrets[i],
            )
            for i in range(len(seeds))
        ]
        draw_adaptation(drawn, _DRAWN_STEPS, folder / "adaptation.png", title=title)


class _ReturnJudge(Judge):
    """Of policies in any environment: by the returns of new episodes."""

    def draw(self, folder: Path, title: str) -> None:
        """None."""

    def scores(self, maml: Any, split: Split, num_tasks: int, inner_steps: int) -> TaskScores:
        found = judge_returns(maml, self.tasks, split, num_tasks, inner_steps)
        return TaskScores({"mean_return": found.greedy, "mean_return_stochastic": found.stochastic}, found.env_steps)

    def untrained(self, inner_steps: int) -> Any:
        """With the inner rate that is best on validation tasks: that of the learner is made for another start."""
        config, found = self.maml.config, []
        for rate in (config.inner_lr * factor for factor in _RATE_FACTORS):
            made = self.family.untrained(self.learner, replace(config, inner_lr=rate))
            with suppress(NonFiniteError):
                returns = self.scores(made, "validation", _TASKS_FOR_RATES, inner_steps).by_name[
                    "mean_return_stochastic"
                ]
                found.append((float(returns[:, inner_steps].mean()), made))
        return max(found, key=itemgetter(0))[1] if found else super().untrained(inner_steps)

    def more_of_protocol(self) -> dict[str, Any]:
        episodes = self.maml.config.episodes
        return {
            "episodes_per_step": episodes,
            "mean_return": f"without discount, over {episodes} episodes of the greedy policy on each task",
            "mean_return_stochastic": "the same, of actions drawn by the policy",
        }


_JUDGES: dict[type, type[Judge]] = {
    MamlModel: _LearnerJudge,
    MamlPolicy: _PolicyJudge,
    TrajectoryPolicy: _ReturnJudge,
}


def judge_of(maml: Any, learner: Learner, tasks: AnyTasks) -> Judge:
    """The judge of a learner on such tasks.

    Raises:
        UserError: for missing data.
    """
    return _JUDGES[type(maml)](maml, learner, family_of(tasks))


def _only_start(initial: Tensor, columns: int) -> tuple[int, int] | None:
    """The cell where episodes begin by a distribution ``[S]``; ``None`` if there are several."""
    return divmod(int(initial.argmax()), columns) if float(initial.max()) == 1 else None


def _seeds_of_goals(goals: list[int]) -> list[int]:
    """Seeds of the first tasks whose goals differ."""
    first = {goal: seed for seed, goal in reversed(list(enumerate(goals)))}
    return sorted(first.values())[:_DRAWN_TASKS]
