"""Specialists against adaptable agents: who learns a new gridworld in how many environment steps?

Four learners meet the same tasks: Q-learning from nothing, Q-learning from the mean of what other agents have learned
on training tasks, a policy that starts untrained, and a policy that was meta-learned. What can be chosen of the first
three, they choose by their mean return on validation tasks, over the whole budget.

Legend: M tasks, G environment steps at which learners are judged, S states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot

from synrl_ray.envs.gridworld import NUM_ACTIONS
from synrl_ray.meta.families import Family
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.policy_judging import relative_regret
from synrl_ray.meta.specialists import learn_tables, pooled_table
from synrl_ray.meta.tasks import Split
from synrl_ray.settings.meta import GridworldTasks, Learner, QComparison
from synrl_ray.settings.q_learning import QLearning

_Actions = Callable[[dict[str, Any], Split, int], NDArray[np.int64]]
_POOL_SEED = 1_000_000
"""Training tasks of the pool begin here; seeds of the exploration are those of the tasks."""


@dataclass(frozen=True, eq=False)
class Contender:
    """How one learner has done.

    Args:
        name: for tables and pictures.
        actions: ``[G, M, S]``, what its greedy policy does.
        share: ``[M, G]``, exact return of that, as a share of the optimum.
        chosen: settings that validation tasks have decided.
        steps_before: environment steps on training tasks, before it met the first test task.
    """

    name: str
    actions: NDArray[np.int64]
    share: NDArray[np.float64]
    chosen: dict[str, Any]
    steps_before: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """Of all learners.

    Args:
        env_steps: ``[G]``.
        contenders: the four.
    """

    env_steps: NDArray[np.int64]
    contenders: tuple[Contender, ...]


def compare(
    maml: MamlPolicy,
    steps_before: int,
    learner: Learner,
    family: Family[GridworldTasks],
    settings: QComparison,
    num_tasks: int,
) -> Comparison:
    """Let all learners meet the first test tasks.

    Args:
        maml: the meta-learned policy.
        steps_before: environment steps of its meta-training.
        learner: its network, for the policy that starts untrained.
        family: of what is learned.
        settings: budget and choices.
        num_tasks: M.
    """
    tasks, played = family.settings, cast(PlayedGridworlds, family.distribution())
    marks = np.arange(0, settings.env_steps + 1, settings.interval_steps)

    def table(initial: np.ndarray | None) -> _Actions:
        return lambda chosen, split, count: _table_actions(
            played, replace(settings.q_learning, gamma=tasks.discount, **chosen), marks, split, count, initial
        )

    def untrained(chosen: dict[str, Any], split: Split, count: int) -> NDArray[np.int64]:
        config = replace(maml.config, learn_inner_lr=False, **chosen)
        made = cast(MamlPolicy, family.untrained(learner, config))
        return _policy_actions(made, played, marks, split, count)

    pool = played.sample("train", range(_POOL_SEED, _POOL_SEED + settings.pool_tasks)).grids
    pool_settings = replace(settings.q_learning, gamma=tasks.discount, epsilon_start=1.0, epsilon_end=1.0)
    (learned,) = learn_tables(pool, pool_settings, [settings.pool_steps], range(settings.pool_tasks))
    explorations = [{"epsilon_start": e, "epsilon_end": e} for e in settings.epsilons]
    from_nothing = [{**e, "initial_value": v} for e in explorations for v in settings.initial_values]
    candidates: list[tuple[str, Any, Sequence[dict[str, Any]], int]] = [
        ("Q-learning", table(None), from_nothing, 0),
        (
            "Q-learning, pooled start",
            table(pooled_table(learned)),
            explorations,
            settings.pool_tasks * settings.pool_steps,
        ),
        ("policy, untrained start", untrained, [{"inner_lr": rate} for rate in settings.inner_lrs], 0),
    ]
    found = []
    for name, act, options, before in candidates:
        on_validation = [act(option, "validation", settings.validation_tasks) for option in options]
        scores = [_shares(played, actions, "validation").mean() for actions in on_validation]
        chosen = options[int(np.argmax(scores))]
        found.append((name, act(chosen, "test", num_tasks), chosen, before))
    meta_learned = _policy_actions(maml, played, marks, "test", num_tasks)
    found.append(("policy, meta-learned start", meta_learned, {}, steps_before))
    contenders = (
        Contender(name, actions, _shares(played, actions, "test"), chosen, before)
        for name, actions, chosen, before in found
    )
    return Comparison(marks, tuple(contenders))


def on_marks(values: NDArray[Any], at: NDArray[np.float64], marks: NDArray[np.int64]) -> NDArray[Any]:
    """What was known last at each mark, ``[G, M, ...]``: of values ``[K, M, ...]``, known from ``at [K, M]`` on."""
    places = np.stack([np.searchsorted(column, marks, side="right") - 1 for column in at.T], axis=1)
    return np.asarray(values[places, np.arange(values.shape[1])])


def _table_actions(
    played: PlayedGridworlds,
    settings: QLearning,
    marks: NDArray[np.int64],
    split: Split,
    num_tasks: int,
    initial: np.ndarray | None,
) -> NDArray[np.int64]:
    grids = played.sample(split, range(num_tasks)).grids
    tables = learn_tables(grids, settings, marks.tolist(), range(num_tasks), initial)
    return np.asarray(tables.argmax(-1))


def _policy_actions(
    maml: MamlPolicy, played: PlayedGridworlds, marks: NDArray[np.int64], split: Split, num_tasks: int
) -> NDArray[np.int64]:
    """As many inner steps as the budget allows at least, where no episode ends early."""
    longest = maml.config.episodes * played.tasks.horizon
    experience = maml.play(
        played.sample(split, range(num_tasks)), num_steps=max(1, int(marks[-1]) // longest), judged=False
    )
    taken = torch.stack([torch.zeros(num_tasks), *(support.env_steps for support in experience.support)])
    actions = torch.stack([log_probs.argmax(-1) for log_probs in experience.policies])
    return on_marks(actions.numpy(), taken.cumsum(0).double().numpy(), marks)


def _shares(played: PlayedGridworlds, actions: NDArray[np.int64], split: Split) -> NDArray[np.float64]:
    """Exact returns of greedy policies ``[G, M, S]``, as shares of the optimum, ``[M, G]``."""
    grids = played.sample(split, range(actions.shape[1])).grids
    policies = [one_hot(torch.from_numpy(a), NUM_ACTIONS).double() for a in actions]
    return np.asarray(1 - relative_regret(grids, policies).numpy())
