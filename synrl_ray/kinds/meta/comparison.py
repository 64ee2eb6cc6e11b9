"""The comparison of a meta-learned policy with Q-learning: figures, table, picture and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from synrl_ray.evaluation.comparison_figure import LearnerCurve, draw_comparison
from synrl_ray.evaluation.statistics import crossed_bootstrap_interval
from synrl_ray.experiment import QComparison
from synrl_ray.files import write_atomically
from synrl_ray.kinds.meta.scores import numbered, standard_error

if TYPE_CHECKING:
    from synrl_ray.meta.comparing import Comparison, Contender
    from synrl_ray.meta.families import Family
    from synrl_ray.meta.gridworld_batch import PlayedGridworlds
    from synrl_ray.meta.maml_rl import MamlPolicy
    from synrl_ray.settings.meta import GridworldTasks, Learner

GOOD = 0.95
"""Share of the optimal return that counts as having learned a task."""
_LOOKS = (0, 1, 3)
"""Inner steps of the meta-learned policy after which everybody's figures are in the table."""


def finish_comparison(
    maml: MamlPolicy,
    learner: Learner,
    family: Family[GridworldTasks],
    settings: QComparison,
    folder: Path,
    *,
    meta_tasks: int,
    num_tasks: int,
    title: str,
) -> dict[str, Any]:
    """Compare on test tasks; write ``comparison.md`` and ``comparison.png``; return what ``result.json`` keeps.

    Args:
        maml: the meta-learned policy.
        learner: its network.
        family, settings: what is compared, and how.
        folder: of the run.
        meta_tasks: training tasks that the policy has met.
        num_tasks: of the test.
        title: of the picture.
    """
    from synrl_ray.meta.comparing import compare

    tasks, played = family.settings, cast("PlayedGridworlds", family.distribution())
    most_steps = meta_tasks * 2 * maml.config.inner_steps * maml.config.episodes * tasks.horizon
    found = compare(maml, most_steps, learner, family, settings, num_tasks)
    copies = numbered(family.identities("test", num_tasks))
    marks = [steps * maml.config.episodes * tasks.horizon for steps in _LOOKS]
    looks = sorted({min(mark, settings.env_steps) for mark in [*marks, settings.env_steps]})
    figures = {each.name: _figures(each, found.env_steps, looks, copies) for each in found.contenders}
    kept = _kept(found.env_steps, figures, num_tasks)
    write_atomically(folder / "comparison.md", kept["text"])
    _draw(found, played, tasks.discount, looks[len(looks) // 2], copies, folder / "comparison.png", title)
    return kept if len({*copies}) == len(copies) else {**kept, "copies": copies}


def combine_comparisons(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """What :func:`finish_comparison` returned of each seed, as one: means over seeds, intervals over seeds and tasks.

    ``None`` where a seed has none, or none that says how it did on each task (as runs of older versions).

    Raises:
        KeyError, TypeError, ValueError: for what :func:`finish_comparison` did not write.
    """
    parts = [part for part in found if part is not None]
    if len(parts) < len(found) or len({(part["test_tasks"], *part["env_steps"]) for part in parts}) > 1:
        return None
    env_steps, figures = np.array(parts[0]["env_steps"]), {}
    for name, first in parts[0]["learners"].items():
        seeds = [part["learners"].get(name, {}) for part in parts]
        if not all("share_by_task" in seed for seed in seeds):
            return None
        figures[name] = {
            **_shares(
                np.mean([seed["share_of_optimum"] for seed in seeds], 0),
                {look: np.array([seed["share_by_task"][look] for seed in seeds]) for look in first["share_by_task"]},
                env_steps,
                parts[0].get("copies"),
            ),
            "env_steps_to_95_per_seed": [seed["env_steps_to_95"] for seed in seeds],
            "env_steps_before": first["env_steps_before"],
        }
    return _kept(env_steps, figures, parts[0]["test_tasks"]) if figures else None


def _kept(env_steps: np.ndarray, figures: dict[str, Any], num_tasks: int) -> dict[str, Any]:
    text = "\n".join([*_table(figures), "", _reading(figures, env_steps, num_tasks), ""])
    return {"env_steps": env_steps.tolist(), "learners": figures, "test_tasks": num_tasks, "text": text}


def _figures(
    contender: Contender, env_steps: np.ndarray, looks: Sequence[int], copies: Sequence[int] | None
) -> dict[str, Any]:
    """Of one seed, with its share of each task's optimum at the looks, ``[M]``."""
    at = {str(look): int(np.searchsorted(env_steps, look, side="right")) - 1 for look in looks}
    by_task = {look: contender.share[:, index].round(4) for look, index in at.items()}
    return {
        **_shares(contender.share.mean(0), {look: share[None] for look, share in by_task.items()}, env_steps, copies),
        "share_by_task": {look: share.tolist() for look, share in by_task.items()},
        "env_steps_before": contender.steps_before,
        "chosen_on_validation_tasks": contender.chosen,
    }


def _shares(
    mean: np.ndarray, by_task: Mapping[str, np.ndarray], env_steps: np.ndarray, copies: Sequence[int] | None
) -> dict[str, Any]:
    """From means ``[G]`` and, at each look, each seed's share of each task's optimum ``[S, M]``."""
    good = np.flatnonzero(mean >= GOOD)
    looks = {}
    for look, share in by_task.items():
        low, high = crossed_bootstrap_interval(share, copies)
        looks[look] = {"share": float(share.mean()), "low": low, "high": high}
    return {
        "share_of_optimum": mean.tolist(),
        "looks": looks,
        "env_steps_to_95": int(env_steps[good[0]]) if len(good) else None,
    }


def _mean_and_error(share: np.ndarray, copies: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Over tasks, with 1.96 standard errors."""
    import torch

    return share.mean(0), 1.96 * standard_error(torch.from_numpy(share), copies).numpy()


def _table(figures: dict[str, Any]) -> list[str]:
    """Markdown: the share of the optimal return after so many environment steps on a new task."""
    looks = list(next(iter(figures.values()))["looks"])
    heads = [f"after {int(steps):,}" for steps in looks]
    lines = [
        f"| learner | {' | '.join(heads)} | steps to {GOOD:.0%} | steps before, on training tasks |",
        "|---" * (len(looks) + 3) + "|",
    ]
    for name, kept in figures.items():
        cells = [f"{at['share']:.1%} ({at['low']:.1%} to {at['high']:.1%})" for at in kept["looks"].values()]
        reached = "never" if kept["env_steps_to_95"] is None else f"{kept['env_steps_to_95']:,}"
        before = f"at most {kept['env_steps_before']:,}" if kept["env_steps_before"] else "0"
        lines.append(f"| {name} | {' | '.join(cells)} | {reached} | {before} |")
    return lines


def _reading(figures: dict[str, Any], env_steps: np.ndarray, num_tasks: int) -> str:
    """What the figures say of specialists and adaptable agents, in words."""
    specialists = {name: kept for name, kept in figures.items() if name.startswith("Q-learning")}
    adaptable, scratch = figures["policy, meta-learned start"], figures["policy, untrained start"]
    areas = {name: float(np.mean(kept["share_of_optimum"])) for name, kept in figures.items()}
    best, last = max(specialists, key=lambda name: areas[name]), int(env_steps[-1])

    def steps(kept: dict[str, Any]) -> str:
        reached = kept["env_steps_to_95"]
        return f"does not get there within {last:,}" if reached is None else f"takes {reached:,} environment steps"

    worth = np.array(adaptable["share_of_optimum"]) - np.array(specialists[best]["share_of_optimum"])
    ahead = env_steps[np.flatnonzero(worth > 0)]
    lead = "At no look is the meta-learned policy ahead of the better table."
    if len(ahead) == 1:
        lead = (
            f"Only at the look after {ahead[0]:,} steps is the meta-learned policy ahead of the better table, by "
            f"{worth.max():.1%} of the optimum."
        )
    elif len(ahead):
        lead = (
            f"Of the looks from {ahead[0]:,} to {ahead[-1]:,} steps there are {len(ahead)} at which the meta-learned "
            f"policy is ahead of the better table, by up to {worth.max():.1%} of the optimum."
        )
    gain = np.array(adaptable["share_of_optimum"]) - np.array(scratch["share_of_optimum"])
    ends = specialists[best]["share_of_optimum"][-1], adaptable["share_of_optimum"][-1]
    return (
        f"On {num_tasks} tasks that no training has seen, the specialist ({best}) {steps(specialists[best])}"
        f" to {GOOD:.0%} of the optimal return, the adaptable policy {steps(adaptable)}, and the same policy without "
        f"meta-learning {steps(scratch)}. {lead} Meta-learning is worth up to {gain.max():.1%} of the optimum to the "
        f"policy. At the end the table is at {ends[0]:.1%} and the adaptable policy at {ends[1]:.1%}. The table learns "
        f"each task alone and needs no training before; the policy has paid at most "
        f"{adaptable['env_steps_before']:,} environment steps on other tasks for its start."
    )


def _draw(
    found: Comparison, played: Any, discount: float, drawn_at: int, copies: Sequence[int], path: Path, title: str
) -> None:
    """Of a task that is as hard for the learners, at that look, as half of the tasks."""
    import torch
    from torch.nn.functional import one_hot

    from synrl_ray.envs.gridworld import NUM_ACTIONS
    from synrl_ray.envs.gridworld_values import optimal_action_values, policy_state_values

    at = int(np.searchsorted(found.env_steps, drawn_at, side="right")) - 1
    done = np.mean([contender.share[:, at] for contender in found.contenders], axis=0)
    task = int(np.argsort(done, kind="stable")[len(done) // 2])
    single = played.sample("test", [task]).grids
    best = float(optimal_action_values(single, discount)[0].max())
    free, columns = single.free[0].numpy(), single.free.shape[2]
    learners = []
    for contender in found.contenders:
        actions = torch.from_numpy(contender.actions[at, task])
        values = policy_state_values(single, one_hot(actions, NUM_ACTIONS).double()[None], discount)[0].numpy()
        mean, error = _mean_and_error(contender.share, copies)
        shown = np.where(free, (values / best).reshape(free.shape), np.nan)
        learners.append(LearnerCurve(contender.name, mean, error, shown, _way(single, actions.numpy(), columns)))
    goal = divmod(int(single.goals[0]), columns)
    draw_comparison(learners, found.env_steps, goal, drawn_at, path, title=title)


def _way(grids: Any, actions: np.ndarray, columns: int) -> list[tuple[int, int]]:
    """Cells of the greedy episode from the likeliest start."""
    state, goal = int(grids.initial[0].argmax()), int(grids.goals[0])
    way = [divmod(state, columns)]
    for _ in range(grids.horizon):
        if state == goal:
            break
        state = int(grids.next_state[0, state, actions[state]])
        way.append(divmod(state, columns))
    return way
